// Q3_K: 16 x 16 codes of 3 bits around 4, each 16 with a 6-bit scale around 32.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {

void dequantize_q3_k(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ3_K, kSuperBlock>(blocks, values, n, [](const BlockQ3_K& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int e = 0; e < kSuperBlock; ++e) {
      const int h = e / 128, r = e % 128, j = e / 16, l = e % 32;
      const int low = block.qs[32 * h + l] >> 2 * (r / 32) & 3;
      const int high = block.hmask[l] >> (4 * h + r / 32) & 1;
      const int s = (block.scales[j % 8] >> 4 * (j / 8) & 15) | (block.scales[8 + j % 4] >> 2 * (j / 4) & 3)
                                                                    << 4;
      x[e] = d * static_cast<float>(s - 32) * static_cast<float>(low + 4 * high - 4);
    }
  });
}

}  // namespace minke
