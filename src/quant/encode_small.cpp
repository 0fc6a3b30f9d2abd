// Encoders of the formats of 32 weights under scales of their own, a minimum in some, a power of two in one.

#include "quant/encode.h"
#include "quant/encode_affine.h"
#include "quant/encode_search.h"

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

F16Pair best_with_min(const Small& block, int top, uint8_t codes[kSmallBlock]) {
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

// What Q4_1 and Q5_1 share: all but the fifth bits.
template <typename Block>
void encode_with_min(const Small& scaled, int top, Block& block, uint8_t codes[kSmallBlock]) {
  const auto [d, m] = best_with_min(scaled, top, codes);
  block.d = d;
  block.m = m;
  pack_nibbles(codes, block.qs);
}

// Code of MXFP4 next to y of its doubled levels: all boundaries between magnitudes are multiples of 1/2.
uint8_t mxfp4_code(float y) {
  static constexpr float kBetween[] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
  uint8_t code = 0;
  for (const float edge : kBetween) code = static_cast<uint8_t>(code + (std::abs(y) > edge));
  return static_cast<uint8_t>(y < 0 && code > 0 ? code | 8 : code);
}

// 2^(e - 128), as a block of MXFP4 with this e means it; ldexp is exact for both subnormal ones.
double mxfp4_scale(int e) { return std::ldexp(1.0, e - 128); }

double mxfp4_error(const float* x, const float* w, int e) {
  const double d = mxfp4_scale(e), id = 1 / d;
  double error = 0;
  for (int i = 0; i < kSmallBlock; ++i) {
    const double off = double{x[i]} - d * kMxfp4Values[mxfp4_code(static_cast<float>(x[i] * id))];
    error += w ? double{w[i]} * off * off : off * off;
  }
  return error;
}

}  // namespace

void encode_q4_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-8, 7, 2.2f};
  encode_blocks<BlockQ4_0, kSmallBlock>(values, importance, blocks, n,
                                        [&](const float* x, const float* w, BlockQ4_0& block) {
                                          const Small scaled(x, w);
                                          uint8_t q[kSmallBlock];
                                          block.d = encode_block(levels, scaled, largest_of(scaled) / -8, q);
                                          pack_nibbles(q, block.qs);
                                        });
}

void encode_q5_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-16, 15, 3};
  encode_blocks<BlockQ5_0, kSmallBlock>(values, importance, blocks, n,
                                        [&](const float* x, const float* w, BlockQ5_0& block) {
                                          const Small scaled(x, w);
                                          uint8_t q[kSmallBlock];
                                          block.d = encode_block(levels, scaled, largest_of(scaled) / -16, q);
                                          pack_nibbles(q, block.qs);
                                          pack_fifth_bits(q, block.qh);
                                        });
}

void encode_q8_0(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-127, 127, 5};
  encode_blocks<BlockQ8_0, kSmallBlock>(
      values, importance, blocks, n, [&](const float* x, const float* w, BlockQ8_0& block) {
        const Small scaled(x, w);
        uint8_t q[kSmallBlock];
        block.d = encode_block(levels, scaled, std::abs(largest_of(scaled)) / 127, q);
        for (int e = 0; e < kSmallBlock; ++e) block.qs[e] = static_cast<int8_t>(q[e] - 127);
      });
}

void encode_iq4_nl(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockIq4Nl, kSmallBlock>(
      values, importance, blocks, n, [&](const float* x, const float* w, BlockIq4Nl& block) {
        const Small scaled(x, w);
        uint8_t q[kSmallBlock];
        block.d = encode_block(Iq4Levels{}, scaled, largest_of(scaled) / -127, q);
        pack_nibbles(q, block.qs);
      });
}

void encode_q4_1(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockQ4_1, kSmallBlock>(values, importance, blocks, n,
                                        [](const float* x, const float* w, BlockQ4_1& block) {
                                          uint8_t q[kSmallBlock];
                                          encode_with_min(Small(x, w), 15, block, q);
                                        });
}

void encode_q5_1(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockQ5_1, kSmallBlock>(values, importance, blocks, n,
                                        [](const float* x, const float* w, BlockQ5_1& block) {
                                          uint8_t q[kSmallBlock];
                                          encode_with_min(Small(x, w), 31, block, q);
                                          pack_fifth_bits(q, block.qh);
                                        });
}

// The reference's scale and its neighbours, of which the lower one cuts more and the higher one less.
void encode_mxfp4(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr int kMost = 252;  // above, the last levels are no f32
  encode_blocks<BlockMxfp4, kSmallBlock>(
      values, importance, blocks, n, [&](const float* from, const float* w, BlockMxfp4& block) {
        float x[kSmallBlock], largest = 0;
        for (int i = 0; i < kSmallBlock; ++i) {
          x[i] = std::abs(from[i]) <= 0x1.fffffep127f ? from[i] : 0;
          largest = std::max(largest, std::abs(x[i]));
        }
        const int middle = largest > 0 ? std::clamp(std::ilogb(largest) - 2 + 127, 0, kMost) : 0;
        int best = middle;
        double least = mxfp4_error(x, w, middle);
        for (const int e : {middle + 1, middle - 1, middle - 2}) {
          if (e < 0 || e > kMost) continue;
          if (const double error = mxfp4_error(x, w, e); error < least) best = e, least = error;
        }
        block.e = static_cast<uint8_t>(best);
        const double id = 1 / mxfp4_scale(best);
        uint8_t q[kSmallBlock];
        for (int i = 0; i < kSmallBlock; ++i) q[i] = mxfp4_code(static_cast<float>(x[i] * id));
        pack_nibbles(q, block.qs);
      });
}

}  // namespace minke
