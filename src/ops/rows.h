#pragma once
// Operations on each row of a batch by itself.

#include "ops/context.h"
#include "ops/linear.h"

namespace minke {

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

// gate = silu(gate) * up, [rows][cols] each.
void silu_mul(const Context& ctx, float* gate, const float* up, int rows, int cols);

}  // namespace minke
