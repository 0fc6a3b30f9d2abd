#pragma once
// Keys that round well. Where keys have biases (Qwen2), a few of their numbers are hundreds of times as large
// as the others, and a scale that holds these leaves nothing of those. Two changes help that attention does
// not see: what is added to all keys of a head adds the same to all scores of a query, so the part of the
// bias that turns so slowly that it is nearly constant can be taken away (as SageAttention, arXiv 2410.02367,
// takes away the mean of a prompt's keys); and what divides a number of the keys can multiply that of the
// queries. docs/decisions/short_cache.md has the figures.

#include <span>
#include <vector>

#include "ops/context.h"

namespace minke {

constexpr int kSmoothTokens = 16384;  // positions over which a turning bias is looked at

// How pairs turn over positions [0, kSmoothTokens).
struct MeanTurns {
  std::vector<float> cos, sin;  // [dims / 2], means
  std::vector<float>
      rest;  // [dims / 2], root of what is left of each number's mean square, for pairs of length 1
};
// frequencies, magnitude: as rope_angles takes them.
MeanTurns mean_turns(std::span<const float> frequencies, float magnitude);

// What is taken from keys, then what divides them: [kv_heads * head_dim] each, of biases of that size. half:
// pairs (i, i + head_dim / 2), else (2i, 2i + 1).
struct KeySmoothing {
  float* offset;
  float* scale;
};
void smooth_from_bias(const Kernels& kernels, const MeanTurns& turns, bool half, const float* bias,
                      int kv_heads, int head_dim, const KeySmoothing& out);

// k [rows][kv_heads * head_dim] = (k - offset) / scale.
void smooth_keys(const Context& ctx, const KeySmoothing& smoothing, int rows, int kv_heads, int head_dim,
                 float* k);
// q [rows][heads * head_dim] *= its kv head's scale.
void scale_by_keys(const Context& ctx, const KeySmoothing& smoothing, int rows, int heads, int kv_heads,
                   int head_dim, float* q);

}  // namespace minke
