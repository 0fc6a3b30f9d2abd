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

inline Vf lanes8(const float* p) { return load_first(p, 8); }

inline Vi narrow(Vi a, Vi b, Vi c, Vi d) {
  alignas(64) int8_t bytes[64];
  store_i8(bytes, a);
  store_i8(bytes + 16, b);
  store_i8(bytes + 32, c);
  store_i8(bytes + 48, d);
  alignas(64) int32_t words[16];
  std::memcpy(words, bytes, sizeof words);
  return load(words);
}

inline void store_bytes(int8_t* p, Vi a) {
  int32_t words[16];
  store(words, a);
  std::memcpy(p, words, sizeof words);
}

template <typename Rows>
inline Vi column_u32(const Rows& rows, int offset) {
  alignas(64) int32_t column[16];
  for (int r = 0; r < 16; ++r) std::memcpy(&column[r], rows[r] + offset, 4);
  return load(column);
}

}  // namespace
}  // namespace minke
