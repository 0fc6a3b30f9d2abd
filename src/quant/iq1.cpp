// IQ1_S and IQ1_M: eight of -1, 0, 1 at a time from a codebook, all moved by 1 / 8 up or down. Every product
// is exact in f32, so that the order of its factors does not matter.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/iq_tables.h"
#include "quant/reference.h"

namespace minke {
namespace {

void put8(float scale, int q, bool down, float* x) {
  const uint64_t grid = kIq1Grid[static_cast<size_t>(q)];
  const float above = down ? 1.125f : 0.875f;
  for (int k = 0; k < 8; ++k) x[k] = scale * (static_cast<float>(grid >> 8 * k & 255) - above);
}

}  // namespace

void dequantize_iq1_s(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq1S, kSuperBlock>(blocks, values, n, [](const BlockIq1S& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int g = 0; g < 32; ++g) {
      const int h = block.qh[g / 4];
      const float scale = d * static_cast<float>(2 * (h >> 12 & 7) + 1);
      put8(scale, block.qs[g] | (h >> 3 * (g % 4) & 7) << 8, h >> 15 != 0, x + 8 * g);
    }
  });
}

void dequantize_iq1_m(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq1M, kSuperBlock>(blocks, values, n, [](const BlockIq1M& block, float* x) {
    const float d = f16_to_f32(scale_of(block));
    for (int g = 0; g < 32; ++g) {
      const int j = g / 2, s = block.scales[j / 4] >> 3 * (j % 4) & 7;
      const int h = block.qh[g / 2] >> 4 * (g % 2) & 15;
      put8(d * static_cast<float>(2 * s + 1), block.qs[g] | (h & 7) << 8, (h & 8) != 0, x + 8 * g);
    }
  });
}

}  // namespace minke
