// Q8_0: 32 signed bytes under one f16 scale.

#include <algorithm>
#include <cmath>

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {

void dequantize_q8_0(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ8_0, kSmallBlock>(blocks, values, n, [](const BlockQ8_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int e = 0; e < kSmallBlock; ++e) x[e] = d * static_cast<float>(block.qs[e]);
  });
}

// The scale is inverted in f32, before it is rounded to f16; codes round half away from zero.
void quantize_q8_0(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockQ8_0, kSmallBlock>(values, blocks, n, [](const float* x, BlockQ8_0& block) {
    float largest = 0;
    for (int e = 0; e < kSmallBlock; ++e) largest = std::max(largest, std::abs(x[e]));
    const float d = largest / 127, id = d == 0 ? 0 : 1 / d;
    block.d = f32_to_f16(d);
    for (int e = 0; e < kSmallBlock; ++e) {
      const uint8_t code = cut_to_code(std::round(std::abs(x[e] * id)), 127);
      block.qs[e] = static_cast<int8_t>(x[e] < 0 ? -code : code);
    }
  });
}

}  // namespace minke
