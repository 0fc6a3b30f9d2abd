#pragma once
// Scalar conversions between f32 and the short float formats. Exact, round to nearest even, no hardware
// needed.

#include <bit>
#include <cstdint>

namespace minke {

// IEEE half precision.
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);

// The upper half of an f32. NaN stays NaN.
inline float bf16_to_f32(uint16_t b) { return std::bit_cast<float>(uint32_t{b} << 16); }
inline uint16_t f32_to_bf16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// e4m3fn (MODEL.md 3.1): 1 sign, 4 exponent (bias 7), 3 mantissa; largest 448; 0x7F and 0xFF are NaN; no
// infinity.
float e4m3_to_f32(uint8_t e);
uint8_t f32_to_e4m3(float f);  // saturates at 448

}  // namespace minke
