// Q2_K: 16 x 16 codes of 2 bits, each 16 with a 4-bit scale and a 4-bit minimum.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {

void dequantize_q2_k(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ2_K, kSuperBlock>(blocks, values, n, [](const BlockQ2_K& block, float* x) {
    const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
    for (int e = 0; e < kSuperBlock; ++e) {
      const int h = e / 128, r = e % 128, j = e / 16, l = e % 32;
      const int q = block.qs[32 * h + l] >> 2 * (r / 32) & 3;
      const float scale = d * static_cast<float>(block.scales[j] & 15);
      const float minimum = dmin * static_cast<float>(block.scales[j] >> 4);
      x[e] = scale * static_cast<float>(q) - minimum;
    }
  });
}

}  // namespace minke
