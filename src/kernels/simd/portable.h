#pragma once
// Words of the vocabulary made from its others, where an instruction set has nothing better. simd.h includes
// it behind them.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace minke {
namespace {

template <int k>
inline Vi fifth_bits(Vi bits) {
  Vi x = bit_and(shr<4 * k>(bits), set1(15));
  x = bit_or(x, shl<7>(x));
  x = bit_or(x, shl<14>(x));
  return shl<4>(bit_and(x, set1(0x01010101)));
}

inline Vi column_u32(const std::byte* base, int64_t stride) {
  alignas(64) int32_t column[16];
  for (int r = 0; r < 16; ++r) std::memcpy(&column[r], base + r * stride, 4);
  return load(column);
}

}  // namespace
}  // namespace minke
