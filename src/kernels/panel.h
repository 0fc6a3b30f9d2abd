#pragma once
// Sixteen rows of a matrix, 256 columns, unpacked from whatever format to codes and scales with one row per
// lane.

#include <bit>
#include <cstdint>

#include "kernels/operand.h"
#include "kernels/simd.h"

namespace minke {
namespace {

// value = scale * (code - offset) - min, codes unsigned. Which members are set depends on the format's
// traits.
struct alignas(64) Panel {
  uint8_t code[kBlock / 4][kPanel]
              [4];  // signed values where the format's offset is 128 and kSignedCodes is set
  // Integer scales of the 256-column formats: value = d * (scale * (code - offset)) - dmin * min.
  int32_t scale[16][kPanel];
  int16_t min[8][kPanel][2];  // of two neighbouring sub-blocks
  float d[kPanel], dmin[kPanel];
  // f32 scales of the 32-column formats: value = fscale * (code - offset) + fmin.
  float fscale[8][kPanel], fmin[8][kPanel];

  // What unpackers call (unpack.h).
  static constexpr bool kPaired = false;
  void codes(int k, Vi word) { store(reinterpret_cast<int32_t*>(code[k]), word); }
  void set_scale(int i, Vi word) { store(scale[i], word); }
  void set_mins(int j, Vi word) { store(reinterpret_cast<int32_t*>(min[j]), word); }
  void set_d(Vf v) { store(d, v); }
  void set_dmin(Vf v) { store(dmin, v); }
  void set_fscale(int i, Vf v) { store(fscale[i], v); }
  void set_fmin(int i, Vf v) { store(fmin[i], v); }
};

struct NoHeader {};  // of unpackers that need none

MINKE_INLINE Vi code_word(const Panel& p, int k) { return load(reinterpret_cast<const int32_t*>(p.code[k])); }
MINKE_INLINE Vi bytes_of(uint8_t b) { return set1(static_cast<int32_t>(b * 0x01010101u)); }
// Codes 128 above their values, as dot_wide takes them.
MINKE_INLINE Vi wide_codes(Vi codes) { return kSignedCodes ? bit_xor(codes, bytes_of(128)) : codes; }
MINKE_INLINE Vi nibbles(Vi word) { return bit_and(word, bytes_of(15)); }

// Where sums of sub-block i start, so that what codes are above values is taken off.
template <typename F>
MINKE_INLINE Vi below_codes(const TokenBlock& x, int i) {
  if constexpr (F::kOffset == 0) return zero_i();
  constexpr bool kWide = F::kSub == 32 && F::kOffset == kWide32;
  constexpr int kUnit = F::kSub == 16 ? kBelow16 : kWide ? kWide32 : kBelow32;
  static_assert(F::kOffset == 0 || std::has_single_bit(static_cast<unsigned>(F::kOffset)));
  constexpr int kShift =
      std::countr_zero(static_cast<unsigned>(F::kOffset)) - std::countr_zero(static_cast<unsigned>(kUnit));
  const Vi below = set1(F::kSub == 16 ? x.below16[i] : kWide ? x.wide32[i] : x.below32[i]);
  if constexpr (kShift > 0) return shl<kShift % 32>(below);
  if constexpr (kShift < 0) return sar<-kShift % 32>(below);
  return below;
}

// Byte i of each lane, unsigned.
template <int i>
MINKE_INLINE Vi byte_of(Vi word) {
  if constexpr (i == 0) return bit_and(word, set1(255));
  if constexpr (i == 3) return shr<24>(word);
  return bit_and(shr<8 * i>(word), set1(255));
}

}  // namespace
}  // namespace minke
