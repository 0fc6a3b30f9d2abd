#pragma once
// The vocabulary over AVX2, FMA and F16C: each word is two halves. simd.h says what each word means.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

#include "kernels/simd/bytes.h"

namespace minke {
namespace {

constexpr int kTokenTile = 4;

struct Vf {
  __m256 a, b;
};
struct Vi {
  __m256i a, b;
};

// All bits set in the lanes below n.
inline __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline Vf zero_f() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Vi zero_i() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Vf set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vi set1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Vf load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Vi load(const int32_t* p) { return {load256(p), load256(p + 8)}; }
inline Vf load_first(const float* p, int n) {
  return {_mm256_maskload_ps(p, first(n)), _mm256_maskload_ps(p + 8, first(n - 8))};
}
inline Vf lanes8(const float* p) {
  return {_mm256_setr_ps(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]), _mm256_setzero_ps()};
}
inline void store(float* p, Vf x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline void store(int32_t* p, Vi x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.b);
}
inline void store_first(float* p, Vf x, int n) {
  _mm256_maskstore_ps(p, first(n), x.a);
  _mm256_maskstore_ps(p + 8, first(n - 8), x.b);
}

inline Vf add(Vf x, Vf y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Vf sub(Vf x, Vf y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Vf mul(Vf x, Vf y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Vf div(Vf x, Vf y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Vf fma(Vf x, Vf y, Vf z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline Vf max(Vf x, Vf y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Vf min(Vf x, Vf y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Vf abs(Vf x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

inline Vi add(Vi x, Vi y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline Vi sub(Vi x, Vi y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline Vi mul(Vi x, Vi y) { return {_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)}; }
inline Vi bit_and(Vi x, Vi y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline Vi bit_or(Vi x, Vi y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline Vi bit_xor(Vi x, Vi y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
template <int n>
inline Vi shl(Vi x) {
  return {_mm256_slli_epi32(x.a, n), _mm256_slli_epi32(x.b, n)};
}
template <int n>
inline Vi shr(Vi x) {
  return {_mm256_srli_epi32(x.a, n), _mm256_srli_epi32(x.b, n)};
}
template <int n>
inline Vi sar(Vi x) {
  return {_mm256_srai_epi32(x.a, n), _mm256_srai_epi32(x.b, n)};
}

inline Vf to_float(Vi x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline Vi to_int(Vf x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline Vi as_int(Vf x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline Vf as_float(Vi x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }

inline Vi broadcast4(const void* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}

inline __m256i dot8(__m256i acc, __m256i u, __m256i s) {
  const __m256i low = _mm256_set1_epi16(0xff);
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(u, low), _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(s, 8));
  return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}
inline Vi dot8(Vi acc, Vi u, Vi s) { return {dot8(acc.a, u.a, s.a), dot8(acc.b, u.b, s.b)}; }

inline __m256i dot7(__m256i acc, __m256i u, __m256i s) {  // 2 * 127 * 128 fits 16 bits
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}
inline Vi dot7(Vi acc, Vi u, Vi s) { return {dot7(acc.a, u.a, s.a), dot7(acc.b, u.b, s.b)}; }

inline Vi dot16(Vi acc, Vi x, Vi y) {
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(x.a, y.a)),
          _mm256_add_epi32(acc.b, _mm256_madd_epi16(x.b, y.b))};
}

// Pairs of 16-bit sums: a product of bytes costs one multiplication and one addition, and only one
// multiplication more brings a sub-block to 32 bits, with its scale.
struct Part {
  __m256i a, b;
};
constexpr int part_dots(int largest) {
  const int dots = 32767 / (2 * largest * 127);
  return dots >= 8 ? 8 : dots >= 4 ? 4 : dots >= 2 ? 2 : 1;
}
inline Part zero_part() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
// Sums are told apart from what follows: GCC 12 reorders integer additions, and then runs out of registers.
inline Part dot_part(Part p, Vi u, Vi s) {
  p.a = _mm256_add_epi16(p.a, _mm256_maddubs_epi16(u.a, s.a));
  p.b = _mm256_add_epi16(p.b, _mm256_maddubs_epi16(u.b, s.b));
  asm volatile("" : "+x"(p.a), "+x"(p.b));
  return p;
}
inline Vi scaled(Part p, Vi scale) {
  return {_mm256_madd_epi16(p.a, scale.a), _mm256_madd_epi16(p.b, scale.b)};
}
inline Vi add_part(Vi acc, Part p) {
  const __m256i one = _mm256_set1_epi16(1);
  return add(acc, scaled(p, {one, one}));
}
inline Vi scale_word(Vi scale) { return bit_or(bit_and(scale, set1(0xffff)), shl<16>(scale)); }
inline Vi add_scaled(Vi acc, Part p, Vi scale) { return add(acc, scaled(p, scale)); }

// |w| as an unsigned byte times s with w's sign: 2 * 128 * 127 fits 16 bits.
constexpr bool kSignedCodes = true;
inline __m256i dot_wide(__m256i acc, __m256i w, __m256i s) {
  const __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(s, w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
}
inline Vi dot_wide(Vi acc, Vi w, Vi s) {
  acc = {dot_wide(acc.a, w.a, s.a), dot_wide(acc.b, w.b, s.b)};
  asm volatile("" : "+x"(acc.a), "+x"(acc.b));
  return acc;
}

inline Vi lookup16(Vi nibbles, const int8_t* table) {
  const __m256i t = _mm256_broadcastsi128_si256(load128(table));
  return {_mm256_shuffle_epi8(t, nibbles.a), _mm256_shuffle_epi8(t, nibbles.b)};
}

inline Vf load_f16(const void* p) {
  const auto* h = static_cast<const uint16_t*>(p);
  return {_mm256_cvtph_ps(load128(h)), _mm256_cvtph_ps(load128(h + 8))};
}
inline Vi load_u16(const void* p) {
  const auto* h = static_cast<const uint16_t*>(p);
  return {_mm256_cvtepu16_epi32(load128(h)), _mm256_cvtepu16_epi32(load128(h + 8))};
}
inline Vf load_bf16(const void* p) { return as_float(shl<16>(load_u16(p))); }
inline Vi load_i8(const void* p) {
  const __m128i x = load128(p);
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))};
}
inline Vi load_u8(const void* p) {
  const __m128i x = load128(p);
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(x, x))};
}
// The low halves of 16 lanes, in order; lanes must fit 16 bits unsigned.
inline __m256i narrow16(Vi x) {
  const __m256i low = _mm256_set1_epi32(0xffff);
  const __m256i mixed = _mm256_packus_epi32(_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low));
  return _mm256_permute4x64_epi64(mixed, 0xd8);
}
inline void store_u16(uint16_t* p, Vi x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow16(x)); }
inline void store_i8(int8_t* p, Vi x) {
  const __m256i words = _mm256_and_si256(narrow16(x), _mm256_set1_epi16(0xff));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline Vi narrow(Vi x, Vi y, Vi z, Vi w) {
  const auto ordered = [](__m256i v) {
    return _mm256_permute4x64_epi64(v, 0xd8);
  };  // of packs, which keep halves
  const auto words = [&](Vi v) { return ordered(_mm256_packs_epi32(v.a, v.b)); };
  return {ordered(_mm256_packs_epi16(words(x), words(y))), ordered(_mm256_packs_epi16(words(z), words(w)))};
}
inline void store_bytes(int8_t* p, Vi x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), x.b);
}
inline Vf half_to_float(Vi bits) {
  const __m256i words = narrow16(bits);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(words)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1))};
}

template <typename Rows>
MINKE_INLINE void transpose4(const Rows& rows, int offset, Vi out[4]) {
  const auto half = [&](int r0, __m256i o[4]) {
    const auto pair = [&](int r) {  // rows r and r + 4
      return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(rows[r0 + r] + offset)),
                                     load128(rows[r0 + r + 4] + offset), 1);
    };
    const __m256i a = pair(0), b = pair(1), c = pair(2), d = pair(3);
    const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
    o[0] = _mm256_unpacklo_epi64(ab0, cd0);
    o[1] = _mm256_unpackhi_epi64(ab0, cd0);
    o[2] = _mm256_unpacklo_epi64(ab1, cd1);
    o[3] = _mm256_unpackhi_epi64(ab1, cd1);
  };
  __m256i low[4], high[4];
  half(0, low);
  half(8, high);
  for (int i = 0; i < 4; ++i) out[i] = {low[i], high[i]};
}

template <int k>
inline Vi fifth_bits(Vi bits) {
  constexpr int kFirst = k / 2 * 0x01010101;  // that byte of each lane four times
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi32(kFirst, kFirst + 0x04040404, kFirst + 0x08080808, kFirst + 0x0c0c0c0c));
  const __m256i bit = _mm256_set1_epi32(static_cast<int>(k % 2 == 0 ? 0x08040201u : 0x80402010u));
  const auto half = [&](__m256i x) {
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(x, order), bit), bit);
    return _mm256_and_si256(set, _mm256_set1_epi8(16));
  };
  return {half(bits.a), half(bits.b)};
}

template <typename Rows>
MINKE_INLINE Vi column_u32(const Rows& rows, int offset) {
  const auto four = [&](int r) {
    const auto row = [&](int i) {
      int32_t x;
      std::memcpy(&x, rows[r + i] + offset, 4);
      return x;
    };
    return _mm_setr_epi32(row(0), row(1), row(2), row(3));
  };
  return {_mm256_set_m128i(four(4), four(0)), _mm256_set_m128i(four(12), four(8))};
}

inline float sum(Vf x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 p = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(p, _mm_movehdup_ps(p)));
}
inline float largest(Vf x) {
  const __m256 h = _mm256_max_ps(x.a, x.b);
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 p = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(p, _mm_movehdup_ps(p)));
}
inline int32_t sum(Vi x) {
  const __m256i h = _mm256_add_epi32(x.a, x.b);
  const __m128i q = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  const __m128i p = _mm_add_epi32(q, _mm_unpackhi_epi64(q, q));
  return _mm_cvtsi128_si32(_mm_add_epi32(p, _mm_shuffle_epi32(p, 1)));
}

inline void opaque(Vf& x) { asm volatile("" : "+x"(x.a), "+x"(x.b)); }
inline void opaque(Part& x) { asm volatile("" : "+x"(x.a), "+x"(x.b)); }
inline void opaque(Vi& x) { asm volatile("" : "+x"(x.a), "+x"(x.b)); }

}  // namespace
}  // namespace minke
