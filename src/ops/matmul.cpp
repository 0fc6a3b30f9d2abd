#include "ops/matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/float.h"

namespace minke {
namespace {

float element(const MatrixView& m, Precision precision, int i, int j) {
  const float x = m.transposed ? m.data[j * m.stride + i] : m.data[i * m.stride + j];
  return precision == Precision::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

}  // namespace

void matmul(const Context& ctx, Precision precision, const MatrixView& a, const MatrixView& b, float* out,
            int64_t stride, bool add) {
  MINKE_CHECK(a.cols == b.rows, "[{}][{}] times [{}][{}]", a.rows, a.cols, b.rows, b.cols);
  const int depth = a.cols, cols = b.cols;
  thread_local std::vector<float> packed;  // [depth][cols], as products take it
  packed.resize(static_cast<size_t>(depth) * static_cast<size_t>(cols));
  float* rows = packed.data();
  ctx.pool.for_each(depth, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k)
      for (int j = 0; j < cols; ++j) rows[k * cols + j] = element(b, precision, static_cast<int>(k), j);
  });
  ctx.pool.for_each(a.rows, 4, [&](int64_t begin, int64_t end, int) {
    for (auto i = static_cast<int>(begin); i < end; ++i) {
      float* to = out + i * stride;
      if (!add) std::fill_n(to, cols, 0.0f);
      // The odd one of each pair first, as the instruction that adds two products of bf16 does.
      for (int pair = 0; pair < depth; pair += 2)
        for (int k = std::min(pair + 1, depth - 1); k >= pair; --k)
          ctx.kernels.scale_add(to, rows + int64_t{k} * cols, element(a, precision, i, k), cols);
    }
  });
}

}  // namespace minke
