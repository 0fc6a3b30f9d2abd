#pragma once
// The reference conversions behind the registry, one file per format or close family. Others reach them
// through info().

#include <cstddef>
#include <cstdint>

namespace minke {

using Dequantize = void(const std::byte* blocks, float* values, int64_t n);
using Quantize = void(const float* values, std::byte* blocks, int64_t n);

Dequantize dequantize_f32, dequantize_f16, dequantize_bf16, dequantize_f8_e4m3;
Dequantize dequantize_q4_0, dequantize_q4_1, dequantize_q5_0, dequantize_q5_1, dequantize_q8_0;
Dequantize dequantize_q2_k, dequantize_q3_k, dequantize_q4_k, dequantize_q5_k, dequantize_q6_k;
Dequantize dequantize_iq4_nl, dequantize_iq4_xs, dequantize_mxfp4;
Dequantize dequantize_iq3_s, dequantize_iq3_xxs;
Dequantize dequantize_iq2_s, dequantize_iq2_xs, dequantize_iq2_xxs;
Dequantize dequantize_iq1_m, dequantize_iq1_s;

Quantize quantize_f32, quantize_f16, quantize_bf16, quantize_f8_e4m3;
Quantize quantize_q4_0, quantize_q4_1, quantize_q5_0, quantize_q5_1, quantize_q8_0;
Quantize quantize_mxfp4;

// Calls decode(block, values of the block) or encode(values of the block, block) for each block in turn.
template <typename Block, int kWeights, typename Decode>
void each_block(const std::byte* blocks, float* values, int64_t n, Decode decode) {
  const auto* block = reinterpret_cast<const Block*>(blocks);
  for (int64_t b = 0; b < n / kWeights; ++b) decode(block[b], values + b * kWeights);
}

template <typename Block, int kWeights, typename Encode>
void each_block(const float* values, std::byte* blocks, int64_t n, Encode encode) {
  auto* block = reinterpret_cast<Block*>(blocks);
  for (int64_t b = 0; b < n / kWeights; ++b) encode(values + b * kWeights, block[b]);
}

// v cut to an integer in [0, max]; 0 for NaN.
inline uint8_t cut_to_code(float v, int max) {
  if (!(v > 0)) return 0;
  return static_cast<uint8_t>(v < static_cast<float>(max) ? static_cast<int>(v) : max);
}

}  // namespace minke
