#pragma once
// The vocabulary over AVX-512 F/BW/DQ/VL, with VNNI and BF16 where it is compiled for them. simd.h says what
// each word means.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace minke {
namespace {

constexpr int kTokenTile = 8;

struct Vf {
  __m512 v;
};
struct Vi {
  __m512i v;
};

inline __mmask16 first(int n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

inline Vf zero_f() { return {_mm512_setzero_ps()}; }
inline Vi zero_i() { return {_mm512_setzero_si512()}; }
inline Vf set1(float x) { return {_mm512_set1_ps(x)}; }
inline Vi set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Vf load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vi load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline Vf load_first(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline Vf lanes8(const float* p) {
  return {_mm512_zextps256_ps512(_mm256_setr_ps(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]))};
}
inline void store(float* p, Vf a) { _mm512_storeu_ps(p, a.v); }
inline void store(int32_t* p, Vi a) { _mm512_storeu_si512(p, a.v); }
inline void store_first(float* p, Vf a, int n) { _mm512_mask_storeu_ps(p, first(n), a.v); }

inline Vf add(Vf a, Vf b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vf sub(Vf a, Vf b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vf mul(Vf a, Vf b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vf div(Vf a, Vf b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vf fma(Vf a, Vf b, Vf c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vf max(Vf a, Vf b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vf min(Vf a, Vf b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vf abs(Vf a) { return {_mm512_abs_ps(a.v)}; }

inline Vi add(Vi a, Vi b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline Vi sub(Vi a, Vi b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Vi mul(Vi a, Vi b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline Vi bit_and(Vi a, Vi b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Vi bit_or(Vi a, Vi b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Vi bit_xor(Vi a, Vi b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int n>
inline Vi shl(Vi a) {
  return {_mm512_slli_epi32(a.v, n)};
}
template <int n>
inline Vi shr(Vi a) {
  return {_mm512_srli_epi32(a.v, n)};
}
template <int n>
inline Vi sar(Vi a) {
  return {_mm512_srai_epi32(a.v, n)};
}

inline Vf to_float(Vi a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline Vi to_int(Vf a) { return {_mm512_cvtps_epi32(a.v)}; }
inline Vi as_int(Vf a) { return {_mm512_castps_si512(a.v)}; }
inline Vf as_float(Vi a) { return {_mm512_castsi512_ps(a.v)}; }

inline Vi broadcast4(const void* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return set1(x);
}

inline Vi dot8(Vi acc, Vi u, Vi s) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(acc.v, u.v, s.v)};
#else
  const __m512i low = _mm512_set1_epi16(0xff);
  const __m512i even =
      _mm512_madd_epi16(_mm512_and_si512(u.v, low), _mm512_srai_epi16(_mm512_slli_epi16(s.v, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(u.v, 8), _mm512_srai_epi16(s.v, 8));
  return {_mm512_add_epi32(acc.v, _mm512_add_epi32(even, odd))};
#endif
}

inline Vi dot7(Vi acc, Vi u, Vi s) {
#if defined(__AVX512VNNI__)
  return dot8(acc, u, s);
#else  // 2 * 127 * 128 fits 16 bits
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(_mm512_maddubs_epi16(u.v, s.v), _mm512_set1_epi16(1)))};
#endif
}

inline Vi dot16(Vi acc, Vi a, Vi b) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpwssd_epi32(acc.v, a.v, b.v)};
#else
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(a.v, b.v))};
#endif
}

#if defined(__AVX512VNNI__)
// By hand, since GCC 12 makes a broadcast and a product of it: an instruction and a register more.
inline Vi dot7_at(Vi acc, Vi u, const void* p) {
  using Bytes __attribute__((may_alias)) = int32_t;
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(u.v), "m"(*static_cast<const Bytes*>(p)));
  return acc;
}
inline Vi dot_wide_at(Vi acc, Vi codes, const void* p) { return dot7_at(acc, codes, p); }
inline Vi dot16_at(Vi acc, Vi a, const void* p) {
  using Bytes __attribute__((may_alias)) = int32_t;
  asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(a.v), "m"(*static_cast<const Bytes*>(p)));
  return acc;
}

constexpr bool kPairSums = true;
#if defined(__AVX512BF16__)  // most of these have one unit for products of all kinds, and others that load
constexpr bool kMul16 = false;
#else  // Cascade Lake and Ice Lake: two units, but four or five micro-operations a cycle
constexpr bool kMul16 = true;
#endif
inline Vi mul16(Vi a, Vi b) { return {_mm512_mullo_epi16(a.v, b.v)}; }

// Lanes hold any number of dots.
using Part = Vi;
constexpr int part_dots(int) { return 64; }
inline Part zero_part() { return zero_i(); }
inline Part dot_part(Part p, Vi u, Vi s) { return dot7(p, u, s); }
inline Part dot_part_at(Part part, Vi u, const void* p) { return dot7_at(part, u, p); }
inline Vi add_part(Vi acc, Part p) { return add(acc, p); }
inline Vi scale_word(Vi scale) { return scale; }
inline Vi add_scaled(Vi acc, Part p, Vi scale) { return add(acc, mul(p, scale)); }
#else
// Pairs of 16-bit sums.
struct Part {
  __m512i v;
};
constexpr int part_dots(int largest) {
  const int dots = 32767 / (2 * largest * 127);
  return dots >= 8 ? 8 : dots >= 4 ? 4 : dots >= 2 ? 2 : 1;
}
inline Part zero_part() { return {_mm512_setzero_si512()}; }
inline Part dot_part(Part p, Vi u, Vi s) { return {_mm512_add_epi16(p.v, _mm512_maddubs_epi16(u.v, s.v))}; }
inline Vi add_part(Vi acc, Part p) {
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(p.v, _mm512_set1_epi16(1)))};
}
inline Vi scale_word(Vi scale) {
  return {
      _mm512_or_si512(_mm512_and_si512(scale.v, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(scale.v, 16))};
}
inline Vi add_scaled(Vi acc, Part p, Vi scale) {
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(p.v, scale.v))};
}
#endif

#if defined(__AVX512BF16__)
constexpr bool kBf16Dots = true;
inline Vf dot_bf16(Vf acc, Vi a, Vi b) {
  return {_mm512_dpbf16_ps(acc.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}

// The low and the high bytes of the bf16 that e4m3 codes without sign stand for.
struct HalvesOfF8 {
  uint8_t low[128], high[128];
};
constexpr HalvesOfF8 kHalvesOfF8 = [] {
  HalvesOfF8 made{};
  for (unsigned code = 0; code < 128; ++code) {
    const float below_normal = static_cast<float>(code) * 0x1p-9f;
    const uint32_t bits = code < 8 ? std::bit_cast<uint32_t>(below_normal) : (code << 20) + (120u << 23);
    made.low[code] = static_cast<uint8_t>(bits >> 16);
    made.high[code] = static_cast<uint8_t>(bits >> 24);
  }
  return made;
}();

inline void bf16_of_f8(Vi codes, Vi out[2]) {
  const auto look_up = [&](const uint8_t* table) {
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(table), codes.v, _mm512_loadu_si512(table + 64));
  };
  // high | codes & 0x80
  const __m512i low = look_up(kHalvesOfF8.low),
                high = _mm512_ternarylogic_epi32(look_up(kHalvesOfF8.high), codes.v, _mm512_set1_epi8(-128),
                                                 0xf8);
  // Byte 2 i of out[k]'s lanes: the low half of code 2 k + i.
  alignas(64) static constexpr auto kOrder = [] {
    std::array<uint8_t, 64> order{};
    for (size_t i = 0; i < 64; ++i) order[i] = static_cast<uint8_t>(i / 4 * 4 + i % 4 / 2 + i % 2 * 64);
    return order;
  }();
  const __m512i first = _mm512_load_si512(kOrder.data());
  out[0].v = _mm512_permutex2var_epi8(low, first, high);
  out[1].v = _mm512_permutex2var_epi8(low, _mm512_add_epi8(first, _mm512_set1_epi8(2)), high);
}
#endif

constexpr bool kSignedCodes = false;
inline Vi dot_wide(Vi acc, Vi codes, Vi s) { return dot8(acc, codes, s); }

inline Vi lookup16(Vi nibbles, const int8_t* table) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), nibbles.v)};
}

inline Vf load_f16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Vf load_bf16(const void* p) {
  const __m256i x = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))};
}
inline Vi load_u16(const void* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Vi load_i8(const void* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
inline Vi load_u8(const void* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
inline void store_i8(int8_t* p, Vi a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
inline Vi narrow(Vi a, Vi b, Vi c, Vi d) {
  const __m256i ab = _mm256_set_m128i(_mm512_cvtepi32_epi8(b.v), _mm512_cvtepi32_epi8(a.v));
  const __m256i cd = _mm256_set_m128i(_mm512_cvtepi32_epi8(d.v), _mm512_cvtepi32_epi8(c.v));
  return {_mm512_inserti64x4(_mm512_castsi256_si512(ab), cd, 1)};
}
inline void store_bytes(int8_t* p, Vi a) { _mm512_storeu_si512(p, a.v); }
inline void store_u16(uint16_t* p, Vi a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
inline Vi low_halves(Vi a, Vi b) {
  return {_mm512_mask_blend_epi16(0xaaaaaaaa, a.v, _mm512_slli_epi32(b.v, 16))};
}
inline void pair_u16(const void* p, const void* q, Vi out[2]) {
  alignas(64) static constexpr uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                    37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                    11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  const __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(q);
  out[0].v = _mm512_permutex2var_epi16(a, low, b);
  out[1].v = _mm512_permutex2var_epi16(a, high, b);
}
inline Vf half_to_float(Vi bits) { return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits.v))}; }

// Four rows' sixteen dwords to four words of one dword a row, in place.
MINKE_INLINE void turn_quads(__m512i q[4], Vi out[4]) {
  const __m512i ab0 = _mm512_unpacklo_epi32(q[0], q[1]), ab1 = _mm512_unpackhi_epi32(q[0], q[1]);
  const __m512i cd0 = _mm512_unpacklo_epi32(q[2], q[3]), cd1 = _mm512_unpackhi_epi32(q[2], q[3]);
  out[0].v = _mm512_unpacklo_epi64(ab0, cd0);
  out[1].v = _mm512_unpackhi_epi64(ab0, cd0);
  out[2].v = _mm512_unpacklo_epi64(ab1, cd1);
  out[3].v = _mm512_unpackhi_epi64(ab1, cd1);
}

// N times four dwords of each row, 16 bytes apart. A row's are read one after the other: rows of 4096 bytes
// would push each other out of L1 in between.
template <int N, typename Rows>
MINKE_INLINE void transpose(const Rows& rows, int offset, Vi* out) {
  // Masked broadcasts, since inserts would keep the shuffle ports from the unpacking.
  __m512i quad[N][4];
  const auto place = [&](auto i, auto from) MINKE_INLINED {
    const std::byte* row = rows[i + 4 * from] + offset;
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 16 * n));
      quad[n][i] =
          from == 0 ? _mm512_castsi128_si512(four)
                    : _mm512_mask_broadcast_i32x4(quad[n][i], static_cast<__mmask16>(15 << 4 * from), four);
    }
  };
  const auto place_quad = [&](auto i) MINKE_INLINED {
    place(i, std::integral_constant<int, 0>{});
    place(i, std::integral_constant<int, 1>{});
    place(i, std::integral_constant<int, 2>{});
    place(i, std::integral_constant<int, 3>{});
  };
  place_quad(std::integral_constant<int, 0>{});
  place_quad(std::integral_constant<int, 1>{});
  place_quad(std::integral_constant<int, 2>{});
  place_quad(std::integral_constant<int, 3>{});
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) turn_quads(quad[n], out + 4 * n);
}

template <typename Rows>
MINKE_INLINE void transpose4(const Rows& rows, int offset, Vi out[4]) {
  transpose<1>(rows, offset, out);
}

template <int k>
inline Vi fifth_bits(Vi bits) {
  constexpr int kFirst = k / 2 * 0x01010101;  // that byte of each lane four times
  const __m512i spread = _mm512_shuffle_epi8(
      bits.v, _mm512_set4_epi32(kFirst + 0x0c0c0c0c, kFirst + 0x08080808, kFirst + 0x04040404, kFirst));
  const __m512i bit = _mm512_set1_epi32(static_cast<int>(k % 2 == 0 ? 0x08040201u : 0x80402010u));
  __m512i sixteen = _mm512_set1_epi8(16);
  asm("" : "+v"(sixteen));  // or GCC broadcasts it anew each time
  return {_mm512_maskz_mov_epi8(_mm512_test_epi8_mask(spread, bit), sixteen)};
}

template <typename Rows>
MINKE_INLINE Vi column_u32(const Rows& rows, int offset) {
  const auto four = [&](int r) MINKE_INLINED {
    const auto row = [&](int i) MINKE_INLINED {
      int32_t x;
      std::memcpy(&x, rows[r + i] + offset, 4);
      return x;
    };
    return _mm_setr_epi32(row(0), row(1), row(2), row(3));
  };
  return {_mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(four(4), four(0))),
                             _mm256_set_m128i(four(12), four(8)), 1)};
}

template <typename Rows>
MINKE_INLINE void columns_u64(const Rows& rows, int offset, Vi out[2]) {
  const auto two = [&](int r) MINKE_INLINED {
    const auto row = [&](int i) MINKE_INLINED {
      int64_t x;
      std::memcpy(&x, rows[i] + offset, 8);
      return x;
    };
    return _mm_set_epi64x(row(r + 1), row(r));
  };
  const auto eight = [&](int r) MINKE_INLINED {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(two(r + 2), two(r))),
                              _mm256_set_m128i(two(r + 6), two(r + 4)), 1);
  };
  const __m512i low = eight(0), high = eight(8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  out[0].v = _mm512_permutex2var_epi32(low, even, high);
  out[1].v = _mm512_permutex2var_epi32(low, odd, high);
}

inline float sum(Vf a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 p = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(p, _mm_movehdup_ps(p)));
}
inline float largest(Vf a) { return _mm512_reduce_max_ps(a.v); }
inline int32_t sum(Vi a) { return _mm512_reduce_add_epi32(a.v); }

inline void opaque(Vf& a) { asm volatile("" : "+v"(a.v)); }
#if !defined(__AVX512VNNI__)
inline void opaque(Part& x) { asm volatile("" : "+v"(x.v)); }
#endif
inline void opaque(Vi& a) { asm volatile("" : "+v"(a.v)); }

}  // namespace
}  // namespace minke
