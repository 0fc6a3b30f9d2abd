#pragma once
// Operations on each row of a batch by itself.

#include <algorithm>

#include "ops/context.h"
#include "ops/linear.h"

namespace minke {

// f(row) over the rows, on as many threads as the work is worth: a region costs about as much as 4,000
// numbers.
template <typename F>
void for_rows(const Context& ctx, int rows, int64_t numbers_a_row, const F& f) {
  const int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, numbers_a_row));
  ctx.pool.for_each(rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

// out[r] = x[r] / sqrt(mean(x[r]^2) + eps) * w, w [cols] or null.
void rmsnorm(const Context& ctx, const Rows& x, const float* w, float eps, float* out, int64_t out_stride);

// LayerNorm with weight and bias [cols], population variance.
void layernorm(const Context& ctx, const Rows& x, const float* w, const float* b, float eps, float* out,
               int64_t out_stride);

// Turns dims numbers at x + r * stride + h * head_stride for every row r and head h by that row's angles.
// cos, sin [rows][dims / 2]; half: pairs (i, i + dims / 2), else (2i, 2i + 1).
struct Rotation {
  const float* cos;
  const float* sin;
  int dims;
  bool half;
};
void rope(const Context& ctx, const Rotation& rotation, float* x, int rows, int64_t stride, int heads,
          int64_t head_stride);

// RMS norm without weight of every head's cols numbers, in place (Llama 4).
void normalise_heads(const Context& ctx, float* x, int rows, int64_t stride, int heads, int cols, float eps);

// out = silu(gate) * up, [rows][cols] each; out may be gate's memory.
void silu_mul(const Context& ctx, const float* gate, const float* up, int rows, int cols, float* out);

}  // namespace minke
