#pragma once
// The vocabulary the kernels are written in, chosen by what the source is compiled for. A word is 16 lanes on
// every instruction set: 16 f32 (Vf) or 16 i32 (Vi). Sums and products therefore run in one order everywhere,
// fused multiply-add is always fused, and every instruction set gives the same bits.
//
// clang-format off
//   kTokenTile             how many tokens a register tile holds; a matter of speed only
//   set1 zero_f zero_i     load store; load_first, store_first touch the first n lanes only (n may be <= 0),
//                          the rest read as 0
//   add sub mul div fma    fma(a, b, c) = a * b + c, rounded once
//   max min                the second operand where either is NaN
//   shl<n> shr<n> sar<n>   by n bits: left, right with zeros, right with the sign
//   to_float to_int        exact or to nearest even; as_float, as_int keep the bits
//   broadcast4(p)          four bytes into every lane
//   dot8(acc, u, s)        lane += sum over 4 bytes of unsigned u times signed s
//   dot7                   the same, every u at most 127; dot7_at(acc, u, p) with the four bytes at p for s
//   dot16(acc, a, b)       lane += sum over 2 signed 16-bit parts of a * b
//   lookup16(n, table)     each byte 0..15 to table[byte]
//   load_f16 load_bf16     and load_u16 load_i8 load_u8, store_i8 store_u16: 16 short elements widened to
//                          lanes, lanes cut short
//   pair_u16(p, q, out)    32 short elements of both: those of p in low halves, of q in high ones, 16 in each of out
//   low_halves(a, b)       the low 16 bits of a's lanes, those of b above them
//   kPairSums              whether dot16 costs as little as mul, so that two sums of 16 bits are scaled at once
//   kMul16                 whether it pays to multiply scales by steps as they are needed, which mul16(a, b) does:
//                          16-bit parts times 16-bit parts, the low 16 bits of each; never called where it does not
//   lanes8(p)              eight floats and zeros, for floats that are in registers yet
//   narrow(a, b, c, d)     64 lanes that fit bytes as bytes, those of a first; store_bytes writes them
//   half_to_float(bits)    low 16 bits of each lane as f16
//   Part                   sums of 4-byte products of unsigned codes with signed bytes, as cheap as they come:
//                          part_dots(c) says how many dots of codes up to c it holds; zero_part,
//                          dot_part(part, u, s), dot_part_at; add_part(acc, part) adds it to lanes, add_scaled(acc, part,
//                          scale_word(scale)) adds scale times it; |scale| < 2^15
//   dot_wide               dot of codes of eight bits: as signed values where kSignedCodes, else as codes 128
//                          above them; dot_wide_at likewise
//   transpose4(rows, offset, out)   lane r of out[j] = dword j of the 16 bytes at rows[r] + offset, r < 16
//   transpose<N>(rows, offset, out) the same of N times 16 bytes, out[4 N]
//   column_u32(rows, offset)        the first dword alone
//   columns_u64(rows, offset, out)  the first two
//   fifth_bits<k>(bits)    bits 4 k .. 4 k + 3 of each lane as 0 or 16 in its four bytes
//   kBf16Dots              whether dot_bf16(acc, a, b) is there: lane += products of two bf16, those of the high halves
//                          first, each sum rounded; where it is not, it is never called, nor is
//   bf16_of_f8(codes, out) four e4m3 codes a lane, those that are none as 480, as two words of two bf16 each
//   opaque(x)              x as it is, but the compiler cannot know
//   sum largest            of the 16 lanes; f32 sums as ((i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1))
// clang-format on

#if defined(MINKE_ISA_scalar)  // the reference is in no hurry, but its compiler is
#define MINKE_INLINE inline
#define MINKE_INLINED
#else
#define MINKE_INLINE inline __attribute__((always_inline))
// For lambdas, after their parameters: one that is called keeps its operands in memory, and costs half the
// speed.
#define MINKE_INLINED __attribute__((always_inline))
#endif

#include "kernels/simd/sixteen_rows.h"

#if defined(MINKE_ISA_avx512) || defined(MINKE_ISA_avx512_vnni) || defined(MINKE_ISA_avx512_bf16)
#include "kernels/simd/avx512.h"
#elif defined(MINKE_ISA_avx2)
#include "kernels/simd/avx2.h"
#elif defined(MINKE_ISA_neon)
#include "kernels/simd/neon.h"
#else
#include "kernels/simd/scalar.h"
#endif

#if !defined(__x86_64__) || defined(MINKE_ISA_scalar)
#include "kernels/simd/portable.h"
#endif

#if !defined(__AVX512VNNI__)  // there, products broadcast what they read
namespace minke {
namespace {
inline Vi dot7_at(Vi acc, Vi u, const void* p) { return dot7(acc, u, broadcast4(p)); }
inline Part dot_part_at(Part part, Vi u, const void* p) { return dot_part(part, u, broadcast4(p)); }
inline Vi dot_wide_at(Vi acc, Vi codes, const void* p) { return dot_wide(acc, codes, broadcast4(p)); }
inline Vi dot16_at(Vi acc, Vi a, const void* p) { return dot16(acc, a, broadcast4(p)); }
constexpr bool kPairSums = false, kMul16 = false;
inline Vi mul16(Vi a, Vi) { return a; }
}  // namespace
}  // namespace minke
#endif

#if !defined(__AVX512BW__)
namespace minke {
namespace {
template <int N, typename Rows>
MINKE_INLINE void transpose(const Rows& rows, int offset, Vi* out) {
  for (int i = 0; i < N; ++i) transpose4(rows, offset + 16 * i, out + 4 * i);
}
inline Vi low_halves(Vi a, Vi b) { return bit_or(bit_and(a, set1(0xffff)), shl<16>(b)); }
template <typename Rows>
MINKE_INLINE void columns_u64(const Rows& rows, int offset, Vi out[2]) {
  for (int j = 0; j < 2; ++j) out[j] = column_u32(rows, offset + 4 * j);
}
inline void pair_u16(const void* p, const void* q, Vi out[2]) {
  for (int h = 0; h < 2; ++h)
    out[h] = bit_or(load_u16(static_cast<const uint16_t*>(p) + 16 * h),
                    shl<16>(load_u16(static_cast<const uint16_t*>(q) + 16 * h)));
}
}  // namespace
}  // namespace minke
#endif

#if !defined(__AVX512BF16__)
namespace minke {
namespace {
constexpr bool kBf16Dots = false;
inline Vf dot_bf16(Vf acc, Vi, Vi) { return acc; }
inline void bf16_of_f8(Vi, Vi[2]) {}
}  // namespace
}  // namespace minke
#endif

namespace minke {
namespace {

template <int i>
struct Index {
  static constexpr int value = i;
  constexpr operator int() const { return i; }
};

// f(Index<0>) ... f(Index<n - 1>), unrolled before anything else happens: arrays indexed by it become
// registers.
template <int n, int i = 0, typename F>
MINKE_INLINE void unroll(const F& f) {
  if constexpr (i < n) {
    f(Index<i>{});
    unroll<n, i + 1>(f);
  }
}

// f(Index<T>, t) over tokens (or rows) [first, last) in register tiles: as many of kTokenTile as there are,
// then halves of it. Operands lie in these tiles.
template <int T = kTokenTile, typename F>
MINKE_INLINE void for_each_tile(int first, int last, const F& f) {
  for (; last - first >= T; first += T) f(Index<T>{}, first);
  if constexpr (T > 1) for_each_tile<T / 2>(first, last, f);
}

}  // namespace
}  // namespace minke
