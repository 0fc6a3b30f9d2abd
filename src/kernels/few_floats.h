#pragma once
// One token or a few times weights that are floats, sixteen rows at a time, turned in registers on their way
// from memory: a panel of gemm would be written and read again for them. The same sums in the same order.

#include <bit>

#include "kernels/float_columns.h"
#include "kernels/operand.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// out[t * stride + r] (+)= W[first + r] . token t of the tile for up to kPanel rows. `data`: the tile in the
// first block; block_bytes: to that of the next. Nothing is asked into L1: rows of floats are long, and read
// from one end to the other (BF16 came at 31 GB/s instead of 27). Two panels at a time, whose sums would not
// wait for each other, were slower: their rows push each other out of L1.
template <typename F, int T>
void multiply_floats(const Mat& w, int first, int rows, const std::byte* data, int64_t block_bytes,
                     float* out, int64_t stride, bool accumulate) {
  alignas(64) std::byte copy[kPanel * kBlock * F::kBytes];
  Vf sum[T];
  unroll<T>([&](auto t) MINKE_INLINED { sum[t] = zero_f(); });
  for (int block = 0; block < blocks_of(w.cols); ++block, data += block_bytes) {
    const int cols = std::min(kBlock, w.cols - block * kBlock);
    const int64_t bytes = int64_t{cols} * F::kBytes;
    const Walk walk = rows_at(w, first, rows, int64_t{block} * kBlock * F::kBytes, bytes, copy);
    if (const std::byte* far = share_ahead<kPanel>(w, first, block, bytes))
      for (int64_t b = 0; b < kPanel * bytes; b += 64) __builtin_prefetch(far + b, 0, 2);
    const auto& x = *reinterpret_cast<const FloatTile<T>*>(data);
    Vf total[T];
    unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_f(); });
    for_each_scale<F>(w, first, block, cols, [&](int from, int count, float factor) MINKE_INLINED {
      for_each_column<F>(
          walk.group(from * F::kBytes), count, factor, [&](int column, Vf value) MINKE_INLINED {
            unroll<T>([&](auto t)
                          MINKE_INLINED { total[t] = fma(value, set1(x.x[from + column][t]), total[t]); });
          });
    });
    unroll<T>([&](auto t) MINKE_INLINED { sum[t] = add(sum[t], total[t]); });
  }
  unroll<T>([&](auto t) MINKE_INLINED {
    float* to = out + t * stride;
    store_first(to, accumulate ? add(load_first(to, rows), sum[t]) : sum[t], rows);
  });
}

// All tokens of x, in no more than two tiles: for the second one weights come from L2, and with three a panel
// is faster.
template <typename F>
bool few_floats_of(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                   bool add) {
  for (int r = 0; r < rows; r += kPanel)
    for_each_tile(0, x.tokens, [&](auto T, int t) MINKE_INLINED {
      multiply_floats<F, T>(w, first_row + r, std::min(kPanel, rows - r), x.data + kFloatTokenBytes * t,
                            kFloatTokenBytes * x.tokens, out + t * stride + r, stride, add);
    });
  return true;
}

// gemv and few for these formats; false for others.
MINKE_INLINE bool few_floats(const Mat& w, int first_row, int rows, const Operand& x, float* out,
                             int64_t stride, bool add) {
  if (x.tokens / kTokenTile + std::popcount(static_cast<unsigned>(x.tokens % kTokenTile)) > 2) return false;
  switch (w.format) {
    case Format::f32: return few_floats_of<UnpackF32>(w, first_row, rows, x, out, stride, add);
    case Format::f16: return few_floats_of<UnpackF16>(w, first_row, rows, x, out, stride, add);
    case Format::bf16: return few_floats_of<UnpackBf16>(w, first_row, rows, x, out, stride, add);
    case Format::f8_e4m3: return few_floats_of<UnpackF8>(w, first_row, rows, x, out, stride, add);
    default: return false;
  }
}

}  // namespace
}  // namespace minke
