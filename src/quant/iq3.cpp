// IQ3_XXS and IQ3_S: four magnitudes at a time from a codebook, their signs beside it. Every product is exact
// in f32, so that the order of its factors does not matter.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/iq_tables.h"
#include "quant/reference.h"

namespace minke {
namespace {

// `signs` from the bit of the first weight on.
void put4(float scale, uint32_t grid, uint32_t signs, float* x) {
  for (int k = 0; k < 4; ++k) {
    const float value = scale * static_cast<float>(grid >> 8 * k & 255);
    x[k] = (signs >> k & 1) != 0 ? -value : value;
  }
}

}  // namespace

void dequantize_iq3_xxs(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq3Xxs, kSuperBlock>(blocks, values, n, [](const BlockIq3Xxs& block, float* x) {
    const float d = f16_to_f32(block.d) * 0.25f;
    for (int f = 0; f < 64; ++f) {
      const uint32_t rest = block.rest[f / 8], signs = eight_signs(rest >> 7 * (f / 2 % 4) & 127);
      const float scale = d * static_cast<float>(2 * (rest >> 28) + 1);
      put4(scale, kIq3XxsGrid[block.qs[f]], signs >> 4 * (f % 2), x + 4 * f);
    }
  });
}

void dequantize_iq3_s(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq3S, kSuperBlock>(blocks, values, n, [](const BlockIq3S& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int f = 0; f < 64; ++f) {
      const int s = block.scales[f / 16] >> 4 * (f / 8 % 2) & 15;
      const int q = block.qs[f] | (block.qh[f / 8] >> f % 8 & 1) << 8;
      const uint32_t signs = block.signs[f / 2];
      put4(d * static_cast<float>(2 * s + 1), kIq3SGrid[static_cast<size_t>(q)], signs >> 4 * (f % 2),
           x + 4 * f);
    }
  });
}

}  // namespace minke
