#pragma once
// Where sixteen rows lie that are read together: rows[r] is row r.

#include <cstddef>
#include <cstdint>

namespace minke {
namespace {

// Row r at base + r * stride.
struct Strided {
  const std::byte* base;
  int64_t stride;
  MINKE_INLINE const std::byte* operator[](int r) const { return base + r * stride; }
};

// The same by four pointers and the stride once, twice and three times, which is what addresses of x86 can
// add. Out of Strided GCC makes sixteen pointers, most of which wait on the stack: Q5_0 was streamed at 17.7
// instead of 21.2 GB/s a thread, Q8_0 at 28 instead of 35. It must not know how the pointers came about.
class SixteenRows {
 public:
  MINKE_INLINE SixteenRows(const std::byte* base, int64_t stride)
      : fours_{base, base + 4 * stride, base + 8 * stride, base + 12 * stride},
        once_(stride),
        thrice_(3 * stride) {
    for (const std::byte*& four : fours_) asm("" : "+r"(four));
    asm("" : "+r"(once_), "+r"(thrice_));
  }
  MINKE_INLINE const std::byte* operator[](int r) const {
    const int64_t more[] = {0, once_, 2 * once_, thrice_};
    return fours_[r / 4] + more[r % 4];
  }
  // What lies `bytes` further along each row.
  MINKE_INLINE SixteenRows further(int64_t bytes) const {
    SixteenRows rows = *this;
    for (const std::byte*& four : rows.fours_) four += bytes;
    return rows;
  }

 private:
  const std::byte* fours_[4];
  int64_t once_, thrice_;
};

}  // namespace
}  // namespace minke
