// IQ2_XXS, IQ2_XS and IQ2_S: eight magnitudes at a time from a codebook, their signs beside it. Every product
// is exact in f32, so that the order of its factors does not matter.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/iq_tables.h"
#include "quant/reference.h"

namespace minke {
namespace {

float scale_of(float d, int s) { return d * 0.125f * static_cast<float>(2 * s + 1); }

void put8(float scale, uint64_t grid, uint32_t signs, float* x) {
  for (int k = 0; k < 8; ++k) {
    const float value = scale * static_cast<float>(grid >> 8 * k & 255);
    x[k] = (signs >> k & 1) != 0 ? -value : value;
  }
}

}  // namespace

void dequantize_iq2_xxs(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq2Xxs, kSuperBlock>(blocks, values, n, [](const BlockIq2Xxs& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int g = 0; g < 32; ++g) {
      const auto& group = block.groups[g / 4];
      const float scale = scale_of(d, static_cast<int>(group.rest >> 28));
      put8(scale, kIq2XxsGrid[group.grid[g % 4]], eight_signs(group.rest >> 7 * (g % 4) & 127), x + 8 * g);
    }
  });
}

void dequantize_iq2_xs(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq2Xs, kSuperBlock>(blocks, values, n, [](const BlockIq2Xs& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int g = 0; g < 32; ++g) {
      const float scale = scale_of(d, block.scales[g / 4] >> 4 * (g / 2 % 2) & 15);
      const uint32_t q = block.qs[g];
      put8(scale, kIq2XsGrid[q & 511], eight_signs(q >> 9), x + 8 * g);
    }
  });
}

void dequantize_iq2_s(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq2S, kSuperBlock>(blocks, values, n, [](const BlockIq2S& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int g = 0; g < 32; ++g) {
      const float scale = scale_of(d, block.scales[g / 4] >> 4 * (g / 2 % 2) & 15);
      const int q = block.qs[g] | (block.qh[g / 4] >> 2 * (g % 4) & 3) << 8;
      put8(scale, kIq2SGrid[static_cast<size_t>(q)], block.signs[g], x + 8 * g);
    }
  });
}

}  // namespace minke
