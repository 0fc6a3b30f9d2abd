#include "base/float.h"

#include <cmath>
#include <limits>

namespace minke {

float f16_to_f32(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t f32_to_f16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) return sign | 0x7c00;                 // 65520 and above round to infinity
  if (magnitude < 0x38800000) {                                      // subnormal result: a multiple of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;  // exact
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

float e4m3_to_f32(uint8_t e) {
  const uint32_t sign = uint32_t{e & 0x80u} << 24;
  const uint32_t exponent = e >> 3 & 15, mantissa = e & 7;
  if ((e & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-9f));
  return std::bit_cast<float>(sign | (exponent + 120) << 23 | mantissa << 20);
}

uint8_t f32_to_e4m3(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7f;
  if (magnitude >= 0x43e00000) return sign | 0x7e;  // 448 and above
  if (magnitude < 0x3c800000) {                     // below 2^-6: a multiple of 2^-9
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p9f;
    return static_cast<uint8_t>(sign | static_cast<uint8_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude - 0x3c000000 + 0x7ffff + (magnitude >> 20 & 1);
  return static_cast<uint8_t>(sign | rounded >> 20);
}

}  // namespace minke
