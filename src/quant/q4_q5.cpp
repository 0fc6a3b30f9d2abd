// Q4_0, Q4_1, Q5_0, Q5_1: 32 codes of 4 or 5 bits under one f16 scale, in the *_1 formats with a minimum.
//
// Rounding: the scale is kept in f32 and inverted there while codes are made, and rounded to f16 only when
// stored.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/pack.h"
#include "quant/reference.h"

namespace minke {
namespace {

constexpr int kHalf = kSmallBlock / 2;

// The 32 codes of four bits; with their fifth bits.
void unpack(const uint8_t qs[kHalf], uint8_t codes[kSmallBlock]) {
  for (int l = 0; l < kHalf; ++l) {
    codes[l] = qs[l] & 15;
    codes[l + kHalf] = qs[l] >> 4;
  }
}
void unpack(const uint8_t qs[kHalf], const uint8_t qh[4], uint8_t codes[kSmallBlock]) {
  unpack(qs, codes);
  for (int e = 0; e < kSmallBlock; ++e)
    codes[e] = static_cast<uint8_t>(codes[e] | (qh[e / 8] >> e % 8 & 1) << 4);
}

float inverse(float d) { return d == 0 ? 0 : 1 / d; }

// Codes around the middle `zero`: the value of largest magnitude, the first of equals, becomes code 0,
// whatever its sign.
float make_centred(const float* x, uint8_t codes[kSmallBlock], int zero) {
  float largest = x[0];
  for (int e = 1; e < kSmallBlock; ++e)
    if (std::abs(x[e]) > std::abs(largest)) largest = x[e];
  const float d = largest / static_cast<float>(-zero), id = inverse(d);
  for (int e = 0; e < kSmallBlock; ++e)
    codes[e] = cut_to_code(x[e] * id + (static_cast<float>(zero) + 0.5f), 2 * zero - 1);
  return d;
}

struct ScaleAndMin {
  float d, m;
};

// Codes above the block's minimum: it becomes code 0, the maximum code `top`.
ScaleAndMin make_above_min(const float* x, uint8_t codes[kSmallBlock], int top) {
  const auto [min, max] = std::minmax_element(x, x + kSmallBlock);
  const float d = (*max - *min) / static_cast<float>(top), id = inverse(d);
  for (int e = 0; e < kSmallBlock; ++e) codes[e] = cut_to_code((x[e] - *min) * id + 0.5f, top);
  return {d, *min};
}

}  // namespace

void dequantize_q4_0(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ4_0, kSmallBlock>(blocks, values, n, [](const BlockQ4_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    uint8_t q[kSmallBlock];
    unpack(block.qs, q);
    for (int e = 0; e < kSmallBlock; ++e) x[e] = d * static_cast<float>(q[e] - 8);
  });
}

void dequantize_q4_1(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ4_1, kSmallBlock>(blocks, values, n, [](const BlockQ4_1& block, float* x) {
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    uint8_t q[kSmallBlock];
    unpack(block.qs, q);
    for (int e = 0; e < kSmallBlock; ++e) x[e] = d * static_cast<float>(q[e]) + m;
  });
}

void dequantize_q5_0(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ5_0, kSmallBlock>(blocks, values, n, [](const BlockQ5_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    uint8_t q[kSmallBlock];
    unpack(block.qs, block.qh, q);
    for (int e = 0; e < kSmallBlock; ++e) x[e] = d * static_cast<float>(q[e] - 16);
  });
}

void dequantize_q5_1(const std::byte* blocks, float* values, int64_t n) {
  each_block<BlockQ5_1, kSmallBlock>(blocks, values, n, [](const BlockQ5_1& block, float* x) {
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    uint8_t q[kSmallBlock];
    unpack(block.qs, block.qh, q);
    for (int e = 0; e < kSmallBlock; ++e) x[e] = d * static_cast<float>(q[e]) + m;
  });
}

void quantize_q4_0(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockQ4_0, kSmallBlock>(values, blocks, n, [](const float* x, BlockQ4_0& block) {
    uint8_t q[kSmallBlock];
    block.d = f32_to_f16(make_centred(x, q, 8));
    pack_nibbles(q, block.qs);
  });
}

void quantize_q4_1(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockQ4_1, kSmallBlock>(values, blocks, n, [](const float* x, BlockQ4_1& block) {
    uint8_t q[kSmallBlock];
    const auto [d, m] = make_above_min(x, q, 15);
    block.d = f32_to_f16(d);
    block.m = f32_to_f16(m);
    pack_nibbles(q, block.qs);
  });
}

void quantize_q5_0(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockQ5_0, kSmallBlock>(values, blocks, n, [](const float* x, BlockQ5_0& block) {
    uint8_t q[kSmallBlock];
    block.d = f32_to_f16(make_centred(x, q, 16));
    pack_nibbles(q, block.qs);
    pack_fifth_bits(q, block.qh);
  });
}

void quantize_q5_1(const float* values, std::byte* blocks, int64_t n) {
  each_block<BlockQ5_1, kSmallBlock>(values, blocks, n, [](const float* x, BlockQ5_1& block) {
    uint8_t q[kSmallBlock];
    const auto [d, m] = make_above_min(x, q, 31);
    block.d = f32_to_f16(d);
    block.m = f32_to_f16(m);
    pack_nibbles(q, block.qs);
    pack_fifth_bits(q, block.qh);
  });
}

}  // namespace minke
