#include "ops/rows_backward.h"

#include <cmath>
#include <vector>

namespace minke {
namespace {

constexpr int kColumns = 64;  // of a weight's gradient that a thread sums over all rows

}  // namespace

void rmsnorm_backward(const Context& ctx, const Rows& x, const float* w, float eps, const Rows& dy, float* dx,
                      int64_t dx_stride, float* dw) {
  std::vector<float> scales(static_cast<size_t>(x.count));
  for_rows(ctx, x.count, x.cols, [&](int64_t r) {
    scales[static_cast<size_t>(r)] = ctx.kernels.training.rmsnorm_backward(
        x.data + r * x.stride, w, eps, dy.data + r * dy.stride, x.cols, dx + r * dx_stride);
  });
  if (!dw) return;
  ctx.pool.for_each(x.cols, kColumns, [&](int64_t begin, int64_t end, int) {
    for (int r = 0; r < x.count; ++r) {
      const float *from = x.data + r * x.stride, *back = dy.data + r * dy.stride;
      const float scale = scales[static_cast<size_t>(r)];
      float* __restrict sums = dw;
      for (int64_t i = begin; i < end; ++i) sums[i] += back[i] * from[i] * scale;
    }
  });
}

void layernorm_backward(const Context& ctx, const Rows& x, const float* w, float eps, const Rows& dy,
                        float* dx, int64_t dx_stride, float* dw, float* db) {
  struct Moments {
    double mean, scale;
  };
  std::vector<Moments> moments(static_cast<size_t>(x.count));
  const int n = x.cols;
  for_rows(ctx, x.count, n, [&](int64_t r) {
    const float* from = x.data + r * x.stride;
    double mean = 0, variance = 0;
    for (int i = 0; i < n; ++i) mean += from[i];
    mean /= n;
    for (int i = 0; i < n; ++i) variance += (from[i] - mean) * (from[i] - mean);
    moments[static_cast<size_t>(r)] = {mean, 1 / std::sqrt(variance / n + static_cast<double>(eps))};
  });
  ctx.pool.for_each(n, kColumns, [&](int64_t begin, int64_t end, int) {
    for (int r = 0; r < x.count; ++r) {
      const auto [mean, scale] = moments[static_cast<size_t>(r)];
      const float *from = x.data + r * x.stride, *back = dy.data + r * dy.stride;
      for (int64_t i = begin; i < end; ++i) {
        if (dw) dw[i] += back[i] * static_cast<float>((from[i] - mean) * scale);
        if (db) db[i] += back[i];
      }
    }
  });
  // Behind the sums over rows, since dx may take dy's place.
  for_rows(ctx, x.count, n, [&](int64_t r) {
    const auto [mean, scale] = moments[static_cast<size_t>(r)];
    const float *from = x.data + r * x.stride, *back = dy.data + r * dy.stride;
    double sum = 0, along = 0;
    for (int i = 0; i < n; ++i) {
      const double d = double{back[i]} * w[i];
      sum += d;
      along += d * (from[i] - mean) * scale;
    }
    float* to = dx + r * dx_stride;
    for (int i = 0; i < n; ++i)
      to[i] = static_cast<float>(scale *
                                 (double{back[i]} * w[i] - sum / n - (from[i] - mean) * scale * along / n));
  });
}

void rope_backward(const Context& ctx, const Rotation& rotation, float* dx, int rows, int64_t stride,
                   int heads, int64_t head_stride) {
  const int angles = rotation.dims / 2;
  for_rows(ctx, rows, int64_t{heads} * rotation.dims, [&](int64_t r) {
    const float *cos = rotation.cos + r * angles, *sin = rotation.sin + r * angles;
    for (int h = 0; h < heads; ++h) {
      float* x = dx + r * stride + h * head_stride;
      for (int i = 0; i < angles; ++i) {
        float& a = rotation.half ? x[i] : x[2 * i];
        float& b = rotation.half ? x[i + angles] : x[2 * i + 1];
        const float p = a, q = b;
        a = p * cos[i] + q * sin[i];
        b = q * cos[i] - p * sin[i];
      }
    }
  });
}

void silu_mul_backward(const Context& ctx, const float* gate, const float* up, const float* dy, int rows,
                       int cols, float* dgate, float* dup) {
  const int64_t all = int64_t{rows} * cols;
  ctx.pool.for_each(all, 16384, [&](int64_t begin, int64_t end, int) {
    ctx.kernels.training.silu_mul_backward(gate + begin, up + begin, dy + begin,
                                           static_cast<int>(end - begin), dgate + begin, dup + begin);
  });
}

void embedding_backward(const Context& ctx, std::span<const int32_t> tokens, const Rows& dx, float* table) {
  ctx.pool.for_each(dx.cols, kColumns, [&](int64_t begin, int64_t end, int) {
    for (int r = 0; r < dx.count; ++r) {
      const int32_t token = tokens[static_cast<size_t>(r)];
      if (token < 0) continue;
      ctx.kernels.add(table + int64_t{token} * dx.cols + begin, dx.data + r * dx.stride + begin,
                      static_cast<int>(end - begin));
    }
  });
}

}  // namespace minke
