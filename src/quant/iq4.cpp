// IQ4_NL and IQ4_XS: codes of 4 bits into a fixed table of 16 unevenly spaced values.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {

void dequantize_iq4_nl(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq4Nl, kSmallBlock>(blocks, values, n, [](const BlockIq4Nl& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int l = 0; l < 16; ++l) {
      x[l] = d * static_cast<float>(kIq4Values[block.qs[l] & 15]);
      x[l + 16] = d * static_cast<float>(kIq4Values[block.qs[l] >> 4]);
    }
  });
}

void dequantize_iq4_xs(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockIq4Xs, kSuperBlock>(blocks, values, n, [](const BlockIq4Xs& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kSuperBlock / 32; ++i) {
      const int s = (block.scales_l[i / 2] >> 4 * (i % 2) & 15) | (block.scales_h >> 2 * i & 3) << 4;
      const float scale = d * static_cast<float>(s - 32);
      for (int l = 0; l < 16; ++l) {
        x[32 * i + l] = scale * static_cast<float>(kIq4Values[block.qs[16 * i + l] & 15]);
        x[32 * i + l + 16] = scale * static_cast<float>(kIq4Values[block.qs[16 * i + l] >> 4]);
      }
    }
  });
}

}  // namespace minke
