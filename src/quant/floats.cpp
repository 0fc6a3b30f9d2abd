// F32, F16, BF16 and plain F8_E4M3 values.

#include <cstring>

#include "base/float.h"
#include "quant/reference.h"

namespace minke {
namespace {

template <typename Code, typename Widen>
void widen_each(const std::byte* codes, float* values, int64_t n, Widen widen) {
  for (int64_t i = 0; i < n; ++i) {
    Code code;
    std::memcpy(&code, codes + i * static_cast<int64_t>(sizeof(Code)), sizeof(Code));
    values[i] = widen(code);
  }
}

template <typename Code, typename Round>
void round_each(const float* values, std::byte* codes, int64_t n, Round round) {
  for (int64_t i = 0; i < n; ++i) {
    const Code code = round(values[i]);
    std::memcpy(codes + i * static_cast<int64_t>(sizeof(Code)), &code, sizeof(Code));
  }
}

}  // namespace

void dequantize_f32(const std::byte* codes, float* values, int64_t n) {
  if (n > 0) std::memcpy(values, codes, static_cast<size_t>(n) * sizeof(float));
}
void dequantize_f16(const std::byte* codes, float* values, int64_t n) {
  widen_each<uint16_t>(codes, values, n, f16_to_f32);
}
void dequantize_bf16(const std::byte* codes, float* values, int64_t n) {
  widen_each<uint16_t>(codes, values, n, bf16_to_f32);
}
void dequantize_f8_e4m3(const std::byte* codes, float* values, int64_t n) {
  widen_each<uint8_t>(codes, values, n, e4m3_to_f32);
}

void quantize_f32(const float* values, std::byte* codes, int64_t n) {
  if (n > 0) std::memcpy(codes, values, static_cast<size_t>(n) * sizeof(float));
}
void quantize_f16(const float* values, std::byte* codes, int64_t n) {
  round_each<uint16_t>(values, codes, n, f32_to_f16);
}
void quantize_bf16(const float* values, std::byte* codes, int64_t n) {
  round_each<uint16_t>(values, codes, n, f32_to_bf16);
}
void quantize_f8_e4m3(const float* values, std::byte* codes, int64_t n) {
  round_each<uint8_t>(values, codes, n, f32_to_e4m3);
}

}  // namespace minke
