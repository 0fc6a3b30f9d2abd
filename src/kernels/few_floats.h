#pragma once
// One token or a few times weights that are floats, sixteen rows at a time, turned in registers on their way
// from memory: a panel would be written and read again for them. The same sums in the same order.

#include <algorithm>
#include <bit>

#include "kernels/float_columns.h"
#include "kernels/operand.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// sum[t] += N chains of columns from `from` on, side by side: a chain waits for itself.
template <typename F, bool pairs, int T, int N>
MINKE_INLINE void add_chains(const Walk& walk, int from, int cols, const float* factors,
                             const Column<pairs, T>* x, const std::byte*& far, Vf sum[T]) {
  Vf total[N][T];
  unroll<N * T>([&](auto i) MINKE_INLINED { total[i / T][i % T] = zero_f(); });
  const int end = N == 1 ? std::min(cols, from + kChain) : from + kChain;
  int c = from;
  for (; c + kPieceColumns<F> <= end; c += kPieceColumns<F>) {
    if (far) {
      constexpr int kLines = N * kPiece<F> * kPanel / 64;
      unroll<kLines>([&](auto i) MINKE_INLINED { __builtin_prefetch(far + 64 * i, 0, 2); });
      far += 64 * kLines;
    }
    const auto* at = column<pairs, T>(x, c);
    for_each_two_of_pieces<F, pairs, N>(walk, c, [&](auto n, auto j, const Vi* two) MINKE_INLINED {
      add_two<pairs, T>(two, column<pairs, T>(at, n * kChain + j), total[n]);
    });
  }
  if constexpr (N == 1)
    if (c < end)
      for_each_two_of_rest<F, pairs>(walk, c, end, [&](int j, const Vi* two) MINKE_INLINED {
        add_two<pairs, T>(two, column<pairs, T>(x, c + j), total[0]);
      });
  unroll<N>([&](auto n) MINKE_INLINED {
    unroll<T>([&](auto t) MINKE_INLINED { sum[t] = fma(total[n][t], set1(factors[n]), sum[t]); });
  });
}

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
    const std::byte* far = share_ahead<kPanel>(w, first, block, bytes);
    const auto* x = reinterpret_cast<const TileOf<pairs, T>*>(data)->x;
    float factors[kBlock / kChain];
    for (int from = 0; from < cols; from += kChain)
      factors[from / kChain] = factor_at<F>(w, first, block, from);
    if (T <= 2 && cols == kBlock)
      add_chains<F, pairs, T, 2>(walk, 0, cols, factors, x, far, sum);
    else
      for (int from = 0; from < cols; from += kChain)
        add_chains<F, pairs, T, 1>(walk, from, cols, factors + from / kChain, x, far, sum);
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
