// Q6_K: 16 x 16 codes of 6 bits around 32, each 16 with an 8-bit scale.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {

void dequantize_q6_k(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ6_K, kSuperBlock>(blocks, values, n, [](const BlockQ6_K& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int e = 0; e < kSuperBlock; ++e) {
      const int h = e / 128, g = e % 128 / 32, j = e / 16, l = e % 32;
      const int low = block.ql[64 * h + 32 * (g % 2) + l] >> 4 * (g / 2) & 15;
      const int high = block.qh[32 * h + l] >> 2 * g & 3;
      x[e] = d * static_cast<float>(block.scales[j]) * static_cast<float>((low | high << 4) - 32);
    }
  });
}

}  // namespace minke
