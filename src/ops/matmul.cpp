#include "ops/matmul.h"

#include "base/error.h"
#include "base/float.h"

namespace minke {

void matmul(const Context& ctx, Precision precision, const MatrixView& a, const MatrixView& b, float* out,
            int64_t stride, bool add) {
  MINKE_CHECK(a.cols == b.rows);
  const auto at = [&](const MatrixView& m, int64_t i, int64_t j) {
    const float v = m.transposed ? m.data[j * m.stride + i] : m.data[i * m.stride + j];
    return precision == Precision::bf16 ? bf16_to_f32(f32_to_bf16(v)) : v;
  };
  ctx.pool.for_each(a.rows, 1, [&](int64_t i, int64_t, int) {
    for (int j = 0; j < b.cols; ++j) {
      float sum = 0;
      for (int k = 0; k < a.cols; ++k) sum += at(a, i, k) * at(b, k, j);
      float& to = out[i * stride + j];
      to = add ? to + sum : sum;
    }
  });
}

}  // namespace minke
