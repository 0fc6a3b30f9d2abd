// Q4_K and Q5_K: 8 x 32 codes of 4 or 5 bits, each 32 with a 6-bit scale and a 6-bit minimum.

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {
namespace {

struct ScaleAndMin {
  float scale, min;
};

// Scale and minimum of the 32 weights of sub-block i.
template <typename Block>
ScaleAndMin scale_and_min(const Block& block, int i) {
  const uint8_t* s = block.scales;
  const int scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
  const int min = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | s[i] >> 6 << 4;
  return {f16_to_f32(block.d) * static_cast<float>(scale), f16_to_f32(block.dmin) * static_cast<float>(min)};
}

}  // namespace

void dequantize_q4_k(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ4_K, kSuperBlock>(blocks, values, n, [](const BlockQ4_K& block, float* x) {
    for (int i = 0; i < kSuperBlock / 32; ++i) {
      const auto [scale, min] = scale_and_min(block, i);
      for (int l = 0; l < 32; ++l) {
        const int q = block.qs[32 * (i / 2) + l] >> 4 * (i % 2) & 15;
        x[32 * i + l] = scale * static_cast<float>(q) - min;
      }
    }
  });
}

void dequantize_q5_k(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ5_K, kSuperBlock>(blocks, values, n, [](const BlockQ5_K& block, float* x) {
    for (int i = 0; i < kSuperBlock / 32; ++i) {
      const auto [scale, min] = scale_and_min(block, i);
      for (int l = 0; l < 32; ++l) {
        const int q = (block.qs[32 * (i / 2) + l] >> 4 * (i % 2) & 15) | (block.qh[l] >> i & 1) << 4;
        x[32 * i + l] = scale * static_cast<float>(q) - min;
      }
    }
  });
}

}  // namespace minke
