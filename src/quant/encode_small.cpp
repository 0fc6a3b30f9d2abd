// Encoders of the formats of 32 weights under scales of their own.

#include "quant/encode.h"
#include "quant/encode_affine.h"
#include "quant/encode_search.h"
#include "quant/reference.h"

namespace minke {
namespace {

using Small = Scaled<kSmallBlock>;

// The f16 scale, and the codes under it. `reference` is the scale that the reference would take: with it or a
// better one, and each weight at its nearest level, no more is lost than there.
template <typename Levels>
uint16_t encode_block(const Levels& levels, const Small& block, float reference, uint8_t codes[kSmallBlock]) {
  Sums sums;
  const uint16_t found = block.to_f16(best_scale(levels, block.x, block.w, kSmallBlock, sums));
  const auto beside = [&](int by) {
    return static_cast<uint16_t>((found & 0x7fff) > 1 ? found + by : found);
  };
  uint16_t best = 0;
  float least = 0;
  bool first = true;
  for (const uint16_t d : {found, beside(-1), beside(1), block.to_f16(reference)}) {
    if ((d & 0x7fff) >= 0x7c00) continue;
    const float error = sums_at(levels, block.x, block.w, kSmallBlock, block.from_f16(d)).error;
    if (first || error < least) best = d, least = error;
    first = false;
  }
  const float id = inverse(block.from_f16(best));
  for (int e = 0; e < kSmallBlock; ++e) codes[e] = static_cast<uint8_t>(levels.code(block.x[e] * id));
  return best;
}

float largest_of(const Small& block) {
  float largest = block.x[0];
  for (const float x : block.x)
    if (std::abs(x) > std::abs(largest)) largest = x;
  return largest;
}

struct F16Pair {
  uint16_t d, m;
};

F16Pair encode_block_with_min(const Small& block, int top, uint8_t codes[kSmallBlock]) {
  const auto [lo, hi] = std::minmax_element(block.x, block.x + kSmallBlock);
  const WeightSums of(block.x, block.w, kSmallBlock);
  const Line found = best_line(block.x, block.w, kSmallBlock, top, of, 0x1p126f);
  F16Pair best{};
  float least = 0;
  bool first = true;
  for (const Line line : {found, Line{(*hi - *lo) / static_cast<float>(top), *lo}}) {
    const uint16_t m0 = block.to_f16(line.base), d0 = block.to_f16(line.step);
    for (const int by : {0, -1, 1}) {
      const auto d = static_cast<uint16_t>((d0 & 0x7fff) > 1 && (d0 & 0x7fff) < 0x7bff ? d0 + by : d0);
      const Line rounded{block.from_f16(d), block.from_f16(m0)};
      const float error = line_sums(block.x, block.w, kSmallBlock, top, rounded).error;
      if (first || error < least) best = {d, m0}, least = error;
      first = false;
    }
  }
  put_codes(block.x, kSmallBlock, top, {block.from_f16(best.d), block.from_f16(best.m)}, codes);
  return best;
}

}  // namespace

void encode_q4_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-8, 7, 2.2f};
  each_block<BlockQ4_0, kSmallBlock>(values, blocks, n, [&](const float* x, BlockQ4_0& block) {
    const Small scaled(x, importance ? importance + (x - values) : nullptr);
    uint8_t q[kSmallBlock];
    block.d = encode_block(levels, scaled, largest_of(scaled) / -8, q);
    pack_nibbles(q, block.qs);
  });
}

void encode_q5_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-16, 15, 3};
  each_block<BlockQ5_0, kSmallBlock>(values, blocks, n, [&](const float* x, BlockQ5_0& block) {
    const Small scaled(x, importance ? importance + (x - values) : nullptr);
    uint8_t q[kSmallBlock];
    block.d = encode_block(levels, scaled, largest_of(scaled) / -16, q);
    pack_nibbles(q, block.qs);
    pack_fifth_bits(q, block.qh);
  });
}

void encode_q8_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-127, 127, 5};
  each_block<BlockQ8_0, kSmallBlock>(values, blocks, n, [&](const float* x, BlockQ8_0& block) {
    const Small scaled(x, importance ? importance + (x - values) : nullptr);
    uint8_t q[kSmallBlock];
    block.d = encode_block(levels, scaled, std::abs(largest_of(scaled)) / 127, q);
    for (int e = 0; e < kSmallBlock; ++e) block.qs[e] = static_cast<int8_t>(q[e] - 127);
  });
}

void encode_iq4_nl(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  each_block<BlockIq4Nl, kSmallBlock>(values, blocks, n, [&](const float* x, BlockIq4Nl& block) {
    const Small scaled(x, importance ? importance + (x - values) : nullptr);
    uint8_t q[kSmallBlock];
    block.d = encode_block(Iq4Levels{}, scaled, largest_of(scaled) / -127, q);
    pack_nibbles(q, block.qs);
  });
}

void encode_q4_1(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  each_block<BlockQ4_1, kSmallBlock>(values, blocks, n, [&](const float* x, BlockQ4_1& block) {
    uint8_t q[kSmallBlock];
    const auto [d, m] =
        encode_block_with_min(Small(x, importance ? importance + (x - values) : nullptr), 15, q);
    block.d = d;
    block.m = m;
    pack_nibbles(q, block.qs);
  });
}

void encode_q5_1(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  each_block<BlockQ5_1, kSmallBlock>(values, blocks, n, [&](const float* x, BlockQ5_1& block) {
    uint8_t q[kSmallBlock];
    const auto [d, m] =
        encode_block_with_min(Small(x, importance ? importance + (x - values) : nullptr), 31, q);
    block.d = d;
    block.m = m;
    pack_nibbles(q, block.qs);
    pack_fifth_bits(q, block.qh);
  });
}

}  // namespace minke
