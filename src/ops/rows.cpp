#include "ops/rows.h"

namespace minke {

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

void silu_mul(const Context& ctx, const float* gate, const float* up, int rows, int cols, float* out) {
  ctx.pool.for_each(int64_t{rows} * cols, 4096, [&](int64_t begin, int64_t end, int) {
    ctx.kernels.silu_mul(gate + begin, up + begin, static_cast<int>(end - begin), out + begin);
  });
}

}  // namespace minke
