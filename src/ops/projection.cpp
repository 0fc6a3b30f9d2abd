#include "ops/projection.h"

#include "base/error.h"

namespace minke {

void project(const Context& ctx, Precision precision, const Rows& x, const Mat& w, float* out, int64_t stride,
             bool add) {
  MINKE_CHECK(w.format == Format::f32 && w.cols == x.cols, "W has {} columns, x {}", w.cols, x.cols);
  if (x.count > 0) matmul(ctx, precision, view(x), transposed(w), out, stride, add);
}

void project_backward(const Context& ctx, Precision precision, const Rows& x, const Mat& w, const Rows& dy,
                      const OutRows& dx, bool add, float* dw) {
  MINKE_CHECK(w.format == Format::f32 && w.cols == x.cols && w.rows == dy.cols && x.count == dy.count);
  if (x.count == 0) return;
  if (dx.data) matmul(ctx, precision, view(dy), view(w), dx.data, dx.stride, add);
  if (dw) matmul(ctx, precision, transposed(dy), view(x), dw, w.cols, true);
}

void bias_backward(const Context& ctx, const Rows& dy, float* db) {
  ctx.pool.for_each(dy.cols, 64, [&](int64_t begin, int64_t end, int) {
    for (int r = 0; r < dy.count; ++r)
      ctx.kernels.add(db + begin, dy.data + r * dy.stride + begin, static_cast<int>(end - begin));
  });
}

}  // namespace minke
