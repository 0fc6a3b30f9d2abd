#pragma once
// Rows of keys and values on their way from memory, up to a chunk ahead of where they are needed: some are
// asked for beside each tile of keys and each panel of values, so that memory is busy all the time, and never
// with so many lines at once that the asking waits.

#include <algorithm>

#include "kernels/attention_words.h"

namespace minke {
namespace {

// What of a row is read: bytes [begin_of, end_of).
template <KvFormat format>
int64_t begin_of(const KeyRows& rows) {
  return kv_scales(format, rows.width) > 0 ? rows.scales : rows.offset;
}
template <KvFormat format>
int64_t end_of(const KeyRows& rows) {
  return rows.offset + int64_t{rows.width} * kv_bytes(format);
}

// The lines of a row, one after the other.
class Lines {
 public:
  Lines() = default;
  template <KvFormat format>
  static MINKE_INLINE Lines of(const KeyRows& rows, int s) {
    const std::byte* row = row_at(rows, s) - rows.offset;
    Lines l;
    l.next_ = row + begin_of<format>(rows);
    l.next_ -= reinterpret_cast<uintptr_t>(l.next_) % 64;
    l.end_ = row + end_of<format>(rows);
    return l;
  }
  MINKE_INLINE bool ask() {  // false: there are no more
    if (next_ >= end_) return false;
    __builtin_prefetch(next_, 0, 2);
    next_ += 64;
    return true;
  }

 private:
  const std::byte *next_ = nullptr, *end_ = nullptr;
};

template <KvFormat format>
MINKE_INLINE void prefetch_row(const KeyRows& rows, int s) {
  Lines lines = Lines::of<format>(rows, s);
  while (lines.ask()) {
  }
}

template <KvFormat format>
class Ahead {
 public:
  explicit Ahead(const AttendSpan& a)
      : keys_(a.keys), values_(a.values), next_(a.first), last_(a.last), apart_(!within(a.values, a.keys)) {}

  // Nothing from row `end` on is asked for.
  void limit(int end) { end_ = std::min(end, last_); }

  // Rows up to `upto`, and at least `more` beyond what was asked for already.
  MINKE_INLINE void ask(int more, int upto) {
    upto = std::min(std::max(next_ + more, upto), end_);
    for (; next_ < upto; ++next_) {
      prefetch_row<format>(keys_, next_);
      if (apart_) prefetch_row<format>(values_, next_);
    }
  }

  // One more line of a key, or a whole row of values.
  MINKE_INLINE void ask_line() {
    if (lines_.ask() || next_ >= end_) return;
    lines_ = Lines::of<format>(keys_, next_);
    if (apart_) prefetch_row<format>(values_, next_);
    ++next_;
  }

 private:
  static bool within(const KeyRows& a, const KeyRows& b) {  // as MLA's values are within its keys
    return a.base == b.base && begin_of<format>(a) >= begin_of<format>(b) &&
           end_of<format>(a) <= end_of<format>(b);
  }

  const KeyRows &keys_, &values_;
  Lines lines_;
  int next_, last_, end_ = 0;
  bool apart_;
};

}  // namespace
}  // namespace minke
