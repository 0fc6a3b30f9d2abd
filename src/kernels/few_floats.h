#pragma once
// One token or a few times weights that are floats, sixteen rows at a time, turned in registers on their way
// from memory: a panel would be written and read again for them. The same sums in the same order.

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
template <typename F, bool pairs, int T>
void multiply_few(const Mat& w, int first, int rows, const std::byte* data, int64_t block_bytes, float* out,
                  int64_t stride, bool accumulate) {
  alignas(64) std::byte copy[kPanel * kBlock * F::kBytes];
  Vf sum[T];
  unroll<T>([&](auto t) MINKE_INLINED { sum[t] = zero_f(); });
  for (int block = 0; block < blocks_of(w.cols); ++block, data += block_bytes) {
    const int cols = std::min(kBlock, w.cols - block * kBlock);
    const int64_t bytes = int64_t{cols} * F::kBytes;
    const Walk walk = rows_at(w, first, rows, int64_t{block} * kBlock * F::kBytes, bytes, copy);
    if (const std::byte* far = share_ahead<kPanel>(w, first, block, bytes))
      for (int64_t b = 0; b < kPanel * bytes; b += 64) __builtin_prefetch(far + b, 0, 2);
    const auto& x = *reinterpret_cast<const TileOf<pairs, T>*>(data);
    for_each_scale<F>(w, first, block, cols, [&](int from, int count, float factor) MINKE_INLINED {
      Vf total[T];
      unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_f(); });
      for_each_two<F, pairs>(walk.group(from * F::kBytes), count, [&](int c, const Vi* words) MINKE_INLINED {
        add_two<pairs, T>(words, x, from + c, total);
      });
      unroll<T>([&](auto t) MINKE_INLINED { sum[t] = fma(total[t], set1(factor), sum[t]); });
    });
  }
  unroll<T>([&](auto t) MINKE_INLINED {
    float* to = out + t * stride;
    store_first(to, accumulate ? add(load_first(to, rows), sum[t]) : sum[t], rows);
  });
}

// Tokens that are worth no panel: no more than two tiles of them. For the second one weights come from L2,
// and with three a panel is faster.
MINKE_INLINE bool few_are(int tokens) {
  return tokens / kTokenTile + std::popcount(static_cast<unsigned>(tokens % kTokenTile)) <= 2;
}

template <typename F, bool pairs>
void multiply_few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                  bool add) {
  const int64_t bytes = token_bytes(x.grain, kBf16Dots);
  for (int r = 0; r < rows; r += kPanel)
    for_each_tile(0, x.tokens, [&](auto T, int t) MINKE_INLINED {
      multiply_few<F, pairs, T>(w, first_row + r, std::min(kPanel, rows - r), x.data + bytes * t,
                                bytes * x.tokens, out + t * stride + r, stride, add);
    });
}

}  // namespace
}  // namespace minke
