#pragma once
// The columns of sixteen rows of a format of floats, two at a time, a row in each lane, and their products
// with tokens. Two columns are one word of two bf16 where such pairs are multiplied, else two words of f32.
// Sums run two by two in ascending order, the odd one of two first: the order of the instruction that adds
// two products of bf16 at once.

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/operand.h"
#include "kernels/rows.h"
#include "kernels/unpack.h"
#include "quant/mat.h"

namespace minke {
namespace {

template <bool pairs>
constexpr int kWordsOfTwo = pairs ? 1 : 2;

template <bool pairs, int T>
using TileOf = std::conditional_t<pairs, PairTile<T>, FloatTile<T>>;

// total[t] += columns c and c + 1 of sixteen rows times those of token t.
template <bool pairs, int T>
MINKE_INLINE void add_two(const Vi* words, const TileOf<pairs, T>& x, int c, Vf total[T]) {
  if constexpr (pairs) {
    unroll<T>([&](auto t)
                  MINKE_INLINED { total[t] = dot_bf16(total[t], words[0], broadcast4(x.x[c / 2][t])); });
  } else {
    unroll<2>([&](auto i) MINKE_INLINED {
      constexpr int k = 1 - i;
      unroll<T>([&](auto t)
                    MINKE_INLINED { total[t] = fma(as_float(words[k]), set1(x.x[c + k][t]), total[t]); });
    });
  }
}

// use(column, words) for every two of columns [0, cols); a column that is not there is zero.
template <typename F, bool pairs, typename Use>
MINKE_INLINE void for_each_two(const Walk& walk, int cols, const Use& use) {
  constexpr int kColumns = 16 / F::kBytes, kWords = kWordsOfTwo<pairs>;
  const auto take = [&](const auto& words, Vi* out) MINKE_INLINED {
    Vi w[4];
    words(w);
    if constexpr (pairs)
      F::pairs16bytes(w, out);
    else
      F::columns16bytes(w, out);
  };
  Vi out[kColumns / 2 * kWords];
  int c = 0;
  for (; c + kColumns <= cols; c += kColumns) {
    take([&](Vi w[4]) MINKE_INLINED { walk.words(c * F::kBytes, w); }, out);
    unroll<kColumns / 2>([&](auto j) MINKE_INLINED { use(c + 2 * j, out + kWords * j); });
  }
  if (c == cols) return;
  std::byte rest[kPanel * 16] = {};
  for (int r = 0; r < kPanel; ++r)
    std::memcpy(rest + 16 * r, walk.rows[r] + c * F::kBytes, static_cast<size_t>((cols - c) * F::kBytes));
  take([&](Vi w[4]) MINKE_INLINED { transpose4(Strided{rest, 16}, 0, w); }, out);
  for (int j = 0; c + 2 * j < cols; ++j) use(c + 2 * j, out + kWords * j);
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
