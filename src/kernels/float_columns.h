#pragma once
// The columns of sixteen rows of a format of floats, one after the other, a row in each lane.

#include <algorithm>
#include <cstring>

#include "kernels/rows.h"
#include "kernels/unpack.h"
#include "quant/mat.h"

namespace minke {
namespace {

// use(column, values) for columns [0, cols); those of FP8 times `factor`.
template <typename F, typename Use>
MINKE_INLINE void for_each_column(const Walk& walk, int cols, float factor, const Use& use) {
  constexpr int kColumns = 16 / F::kBytes;
  const auto take = [&](int column, Vi bits) MINKE_INLINED {
    const Vf value = as_float(bits);
    use(column, F::kFormat == Format::f8_e4m3 ? mul(value, set1(factor)) : value);
  };
  int c = 0;
  for (; c + kColumns <= cols; c += kColumns) {
    Vi w[4], out[kColumns];
    walk.words(c * F::kBytes, w);
    F::columns16bytes(w, out);
    unroll<kColumns>([&](auto j) MINKE_INLINED { take(c + j, out[j]); });
  }
  if (c == cols) return;
  std::byte rest[kPanel * 16] = {};
  for (int r = 0; r < kPanel; ++r)
    std::memcpy(rest + 16 * r, walk.rows[r] + c * F::kBytes, static_cast<size_t>((cols - c) * F::kBytes));
  Vi w[4], out[kColumns];
  transpose4(Strided{rest, 16}, 0, w);
  F::columns16bytes(w, out);
  for (int j = 0; c + j < cols; ++j) take(c + j, out[j]);
}

// use(from, count, factor) for columns [from, from + count) of a block, `cols` of which are there: 256
// columns of FP8 are under two scales.
template <typename F, typename Use>
MINKE_INLINE void for_each_scale(const Mat& w, int first_row, int block, int cols, const Use& use) {
  if constexpr (F::kFormat == Format::f8_e4m3) {
    const float* scales = w.scales + int64_t{first_row / kScaleBlock} * scale_blocks(w.cols) + block * 2;
    for (int half = 0; half < cols; half += kScaleBlock)
      use(half, std::min(kScaleBlock, cols - half), scales[half / kScaleBlock]);
  } else {
    use(0, cols, 1.0f);
  }
}

}  // namespace
}  // namespace minke
