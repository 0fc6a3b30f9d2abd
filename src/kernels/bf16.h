#pragma once
// Rounding to bf16, to nearest even, in the vocabulary. NaN stays NaN, and denormals become zeros where the
// processor is told to flush them: as the instruction does that some processors have for it.

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "kernels/simd.h"

namespace minke {
namespace {

#if defined(__AVX512BF16__)

// Low halves: bf16 of `even`, high halves: of `odd`.
inline Vi pair_bf16(Vf even, Vf odd) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd.v, even.v));
  return {_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both)};
}
inline Vf round_bf16(Vf x) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v))), 16))};
}
inline void store_bf16(uint16_t* p, Vf x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}

#else

// In the low half of each lane. Denormals go with the product, which the compiler does not see through.
inline Vi bits_bf16(Vf x) {
  Vf one = set1(1.0f);
  opaque(one);
  const Vi bits = as_int(mul(x, one));
  const Vi nan = sar<31>(sub(set1(0x7f800000), bit_and(bits, set1(0x7fffffff))));
  const Vi rounded = shr<16>(add(bits, add(bit_and(shr<16>(bits), set1(1)), set1(0x7fff))));
  return bit_or(rounded, bit_and(nan, set1(0x7fc0)));
}
inline Vf round_bf16(Vf x) { return as_float(shl<16>(bits_bf16(x))); }
inline Vi pair_bf16(Vf even, Vf odd) { return bit_or(bits_bf16(even), shl<16>(bits_bf16(odd))); }
inline void store_bf16(uint16_t* p, Vf x) { store_u16(p, bits_bf16(x)); }

#endif

// Denormals are zeros from here on, as dots of bf16 take them wherever there are such, until they are
// restored (by a call: a destructor would bring the weak symbols of exceptions). Without `operands` only
// results are, where a processor knows the difference.
#if defined(__x86_64__)
using Denormals = unsigned;
MINKE_INLINE Denormals flush_denormals(bool operands = true) {
  const Denormals before = _mm_getcsr();
  _mm_setcsr(before | 0x8000 | (operands ? 0x40 : 0));
  return before;
}
MINKE_INLINE void restore(Denormals before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
using Denormals = uint64_t;
MINKE_INLINE Denormals flush_denormals(bool = true) {
  Denormals before;
  asm volatile("mrs %0, fpcr" : "=r"(before));
  asm volatile("msr fpcr, %0" : : "r"(before | uint64_t{1} << 24));
  return before;
}
MINKE_INLINE void restore(Denormals before) { asm volatile("msr fpcr, %0" : : "r"(before)); }
#endif

}  // namespace
}  // namespace minke
