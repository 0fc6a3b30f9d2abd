#include "ops/smooth_keys.h"

#include <algorithm>
#include <cmath>

namespace minke {

MeanTurns mean_turns(std::span<const float> frequencies, float magnitude) {
  MeanTurns turns;
  for (const float frequency :
       frequencies) {  // the mean of e^(i f t) over t is e^(i f T / 2) sin(f T / 2) / (f T / 2)
    const double half = double{frequency} * kSmoothTokens / 2, length = half == 0 ? 1 : std::sin(half) / half;
    turns.cos.push_back(magnitude * static_cast<float>(length * std::cos(half)));
    turns.sin.push_back(magnitude * static_cast<float>(length * std::sin(half)));
    turns.rest.push_back(magnitude * static_cast<float>(std::sqrt((1 - length * length) / 2)));
  }
  return turns;
}

void smooth_from_bias(const Kernels& kernels, const MeanTurns& turns, bool half, const float* bias,
                      int kv_heads, int head_dim, const KeySmoothing& out) {
  const int pairs = head_dim / 2;
  std::copy_n(bias, kv_heads * head_dim, out.offset);
  for (int h = 0; h < kv_heads; ++h) {
    const float* b = bias + h * head_dim;
    float* scale = out.scale + h * head_dim;
    kernels.rope(out.offset + h * head_dim, turns.cos.data(), turns.sin.data(), head_dim, half);
    for (int i = 0; i < pairs; ++i) {
      const int first = half ? i : 2 * i, second = half ? i + pairs : 2 * i + 1;
      const float rest = turns.rest[static_cast<size_t>(i)] * std::hypot(b[first], b[second]);
      // 1 is about what the weights add; half or twice as much makes no difference.
      scale[first] = scale[second] = std::sqrt(rest * rest + 1.0f);
    }
  }
}

void smooth_keys(const Context& ctx, const KeySmoothing& s, int rows, int kv_heads, int head_dim, float* k) {
  const int64_t width = int64_t{kv_heads} * head_dim;
  ctx.pool.for_each(rows, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t i = 0; i < width; ++i) k[r * width + i] = (k[r * width + i] - s.offset[i]) / s.scale[i];
  });
}

void scale_by_keys(const Context& ctx, const KeySmoothing& s, int rows, int heads, int kv_heads, int head_dim,
                   float* q) {
  ctx.pool.for_each(rows, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin * heads; at < end * heads; ++at) {
      const float* scale = s.scale + at % heads / (heads / kv_heads) * head_dim;
      for (int i = 0; i < head_dim; ++i) q[at * head_dim + i] *= scale[i];
    }
  });
}

}  // namespace minke
