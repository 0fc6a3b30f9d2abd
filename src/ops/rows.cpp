#include "ops/rows.h"

#include <algorithm>

namespace minke {
namespace {

// f(row) over the rows, on as many threads as the work is worth: a region costs about as much as 4,000
// numbers.
template <typename F>
void for_rows(const Context& ctx, int rows, int64_t numbers_a_row, const F& f) {
  const int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, numbers_a_row));
  ctx.pool.for_each(rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

}  // namespace

void rmsnorm(const Context& ctx, const Rows& x, const float* w, float eps, float* out, int64_t out_stride) {
  for_rows(ctx, x.count, x.cols, [&](int64_t r) {
    ctx.kernels.rmsnorm(x.data + r * x.stride, w, eps, x.cols, out + r * out_stride);
  });
}

void layernorm(const Context& ctx, const Rows& x, const float* w, const float* b, float eps, float* out,
               int64_t out_stride) {
  for_rows(ctx, x.count, x.cols, [&](int64_t r) {
    ctx.kernels.layernorm(x.data + r * x.stride, w, b, eps, x.cols, out + r * out_stride);
  });
}

void rope(const Context& ctx, const Rotation& rotation, float* x, int rows, int64_t stride, int heads,
          int64_t head_stride) {
  const int64_t angles = rotation.dims / 2;
  for_rows(ctx, rows, int64_t{heads} * rotation.dims, [&](int64_t r) {
    for (int h = 0; h < heads; ++h) {
      ctx.kernels.rope(x + r * stride + h * head_stride, rotation.cos + r * angles, rotation.sin + r * angles,
                       rotation.dims, rotation.half);
    }
  });
}

void normalise_heads(const Context& ctx, float* x, int rows, int64_t stride, int heads, int cols, float eps) {
  for_rows(ctx, rows, int64_t{heads} * cols, [&](int64_t r) {
    for (int h = 0; h < heads; ++h) {
      float* head = x + r * stride + int64_t{h} * cols;
      ctx.kernels.rmsnorm(head, nullptr, eps, cols, head);
    }
  });
}

void silu_mul(const Context& ctx, float* gate, const float* up, int rows, int cols) {
  for_rows(ctx, rows, cols, [&](int64_t r) {
    float* g = gate + r * cols;
    ctx.kernels.silu_mul(g, up + r * cols, cols, g);
  });
}

}  // namespace minke
