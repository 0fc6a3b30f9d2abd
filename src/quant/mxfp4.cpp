// MXFP4: 32 codes of e2m1 under one power of two (OCP Microscaling Formats 1.0).

#include <algorithm>
#include <bit>
#include <cmath>

#include "quant/blocks.h"
#include "quant/pack.h"
#include "quant/reference.h"

namespace minke {
namespace {

// 2^(e - 128): half of what e stands for, because kMxfp4Values are doubled. Two of them are subnormal.
float half_scale(uint8_t e) { return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23); }

}  // namespace

void dequantize_mxfp4(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockMxfp4, kSmallBlock>(blocks, values, n, [](const BlockMxfp4& block, float* x) {
    const float d = half_scale(block.e);
    for (int l = 0; l < 16; ++l) {
      x[l] = d * static_cast<float>(kMxfp4Values[block.qs[l] & 15]);
      x[l + 16] = d * static_cast<float>(kMxfp4Values[block.qs[l] >> 4]);
    }
  });
}

// The scale puts the largest magnitude between 4 and 8 (values above 6 are cut); each code is the nearest
// value, of two equally near the first in the table.
void quantize_mxfp4(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockMxfp4, kSmallBlock>(values, blocks, n, [](const float* x, BlockMxfp4& block) {
    float largest = 0;
    for (int e = 0; e < kSmallBlock; ++e) largest = std::max(largest, std::abs(x[e]));
    block.e = largest > 0 ? cut_to_code(std::floor(std::log2(largest)) - 2 + 127, 254) : 0;
    const float d = half_scale(block.e);
    uint8_t codes[kSmallBlock];
    for (int e = 0; e < kSmallBlock; ++e) {
      const auto distance = [&](int8_t value) { return std::abs(d * static_cast<float>(value) - x[e]); };
      codes[e] = static_cast<uint8_t>(std::ranges::min_element(kMxfp4Values, {}, distance) - kMxfp4Values);
    }
    pack_nibbles(codes, block.qs);
  });
}

}  // namespace minke
