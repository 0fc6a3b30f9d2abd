#include "kv/pool.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace minke {
namespace {

int pages_for(int tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

KvPool::KvPool(KvLayout layout, int pages)
    : layout_(std::move(layout)),
      pages_(pages),
      memory_(page_bytes(layout_) * pages, "the KV cache"),
      uses_(static_cast<size_t>(pages)),
      used_before_(static_cast<size_t>(pages)) {
  std::byte* at = memory_.data();
  for (const KvRow& row : layout_) {
    bases_.push_back(at);
    at += row.bytes * kPageTokens * pages;
  }
  for (int32_t p = pages; p-- > 0;) free_.push_back(p);
}

std::byte* KvPool::row_at(int layer, const KvView& view, int token) const {
  const int64_t page = view.pages[static_cast<size_t>(token / kPageTokens)];
  return base(layer) + (page * kPageTokens + token % kPageTokens) * row(layer).bytes;
}

bool KvPool::reserve(KvView& view, int tokens) {
  const int wanted = pages_for(tokens) - static_cast<int>(view.pages.size());
  if (wanted > free_pages()) return false;
  for (int i = 0; i < wanted; ++i) {
    const int32_t page = free_.back();
    free_.pop_back();
    view.pages.push_back(page);
    uses_[static_cast<size_t>(page)] = 1;
    if (used_before_[static_cast<size_t>(
            page)]) {  // attention multiplies rows past the end by 0: they must be finite
      for (size_t l = 0; l < layout_.size(); ++l) {
        const size_t bytes = static_cast<size_t>(layout_[l].bytes * kPageTokens);
        std::memset(bases_[l] + static_cast<size_t>(page) * bytes, 0, bytes);
      }
    }
    used_before_[static_cast<size_t>(page)] = true;
  }
  return true;
}

void KvPool::release(int32_t page) {
  int& uses = uses_[static_cast<size_t>(page)];
  MINKE_CHECK(uses > 0, "page {}", page);
  if (--uses == 0) free_.push_back(page);
}

void KvPool::copy_page(int32_t from, int32_t to) {
  for (size_t l = 0; l < layout_.size(); ++l) {
    const int64_t bytes = layout_[l].bytes * kPageTokens;
    std::memcpy(bases_[l] + to * bytes, bases_[l] + from * bytes, static_cast<size_t>(bytes));
  }
}

void KvPool::own(KvView& view, int token) {
  int32_t& page = view.pages[static_cast<size_t>(token / kPageTokens)];
  if (uses(page) == 1) return;
  KvView copy;
  MINKE_CHECK(reserve(copy, 1));
  copy_page(page, copy.pages[0]);
  release(page);
  page = copy.pages[0];
}

void KvPool::save_page(int32_t page, std::byte* to) const {
  for (size_t l = 0; l < layout_.size(); ++l) {
    const int64_t bytes = layout_[l].bytes * kPageTokens;
    std::memcpy(to, bases_[l] + page * bytes, static_cast<size_t>(bytes));
    to += bytes;
  }
}

void KvPool::load_page(int32_t page, const std::byte* from) {
  for (size_t l = 0; l < layout_.size(); ++l) {
    const int64_t bytes = layout_[l].bytes * kPageTokens;
    std::memcpy(bases_[l] + page * bytes, from, static_cast<size_t>(bytes));
    from += bytes;
  }
}

void KvPool::truncate(KvView& view, int tokens) {
  MINKE_CHECK(tokens >= 0 && tokens <= view.length, "{} of {} tokens", tokens, view.length);
  const size_t keep = static_cast<size_t>(pages_for(tokens));
  while (view.pages.size() > keep) {
    release(view.pages.back());
    view.pages.pop_back();
  }
  view.length = tokens;
  view.mtp_length = std::min(view.mtp_length, tokens);
}

}  // namespace minke
