#pragma once
// The columns of sixteen rows of a format of floats, two at a time, a row in each lane, and their products
// with tokens. Two columns are one word of two bf16 where such pairs are multiplied, else two words of f32.
// Sums run two by two in ascending order, the odd one of two first: the order of the instruction that adds
// two products of bf16 at once.

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

// Columns of a tile of T tokens, and where column c, an even one, is from `x` on.
template <bool pairs, int T>
using Column = std::conditional_t<pairs, uint16_t[T][2], float[T]>;
template <bool pairs, int T>
using TileOf = std::conditional_t<pairs, PairTile<T>, FloatTile<T>>;
template <bool pairs, int T>
MINKE_INLINE const Column<pairs, T>* column(const Column<pairs, T>* x, int c) {
  return x + (pairs ? c / 2 : c);
}

// total[t] += two columns of sixteen rows times those of token t, which begin at x.
template <bool pairs, int T>
MINKE_INLINE void add_two(const Vi* words, const Column<pairs, T>* x, Vf total[T]) {
  if constexpr (pairs) {
    unroll<T>([&](auto t) MINKE_INLINED { total[t] = dot_bf16(total[t], words[0], broadcast4(x[0][t])); });
  } else {
    unroll<2>([&](auto i) MINKE_INLINED {
      constexpr int k = 1 - i;
      unroll<T>([&](auto t) MINKE_INLINED { total[t] = fma(as_float(words[k]), set1(x[k][t]), total[t]); });
    });
  }
}

#if defined(__AVX512F__)
constexpr int kRegisters = 32;  // of sixteen lanes
#else
constexpr int kRegisters = 8;
#endif
constexpr int kChain = kScaleBlock;  // columns whose products are added one after the other
// Bytes of a row that are read together: a line where there are registers for as much of sixteen rows, for
// rows of 4096 bytes push each other out of L1 in between. Half a one of FP8, so that chains side by side
// take turns often enough not to wait for each other.
template <typename F>
constexpr int kPiece = kRegisters < 32  ? 16
                       : F::kBytes == 1 ? 32
                                        : 64;
template <typename F>
constexpr int kPieceColumns = kPiece<F> / F::kBytes;

// What columns [from, ...) of sixteen rows from `first_row` are worth: FP8 has a factor for each chain.
template <typename F>
MINKE_INLINE float factor_at(const Mat& w, int first_row, int block, int from) {
  if constexpr (F::kFormat != Format::f8_e4m3) return 1.0f;
  const int64_t row = int64_t{first_row / kScaleBlock} * scale_blocks(w.cols);
  return w.scales[row + (block * kBlock + from) / kScaleBlock];
}

// use(column, words) for every two columns of what 16 bytes of the rows hold.
template <typename F, bool pairs, typename Use>
MINKE_INLINE void for_each_two(const Vi w[4], const Use& use) {
  constexpr int kColumns = 16 / F::kBytes, kWords = kWordsOfTwo<pairs>;
  Vi out[kColumns / 2 * kWords];
  if constexpr (pairs)
    F::pairs16bytes(w, out);
  else
    F::columns16bytes(w, out);
  unroll<kColumns / 2>([&](auto j) MINKE_INLINED { use(Index<2 * j>{}, out + kWords * j); });
}

// use(chain, column, words) for the pieces at column c of N chains in turns, counted from there.
template <typename F, bool pairs, int N, typename Use>
MINKE_INLINE void for_each_two_of_pieces(const Walk& walk, int c, const Use& use) {
  constexpr int kQuads = kPiece<F> / 16;
  Vi w[N][4 * kQuads];
  unroll<N>([&](auto n) MINKE_INLINED { transpose<kQuads>(walk.rows, (c + n * kChain) * F::kBytes, w[n]); });
  unroll<kQuads * N>([&](auto i) MINKE_INLINED {
    for_each_two<F, pairs>(w[i % N] + i / N * 4, [&](auto j, const Vi* two) MINKE_INLINED {
      use(Index<i % N>{}, Index<i / N * (16 / F::kBytes) + j>{}, two);
    });
  });
}

// And for columns [c, cols), fewer than a piece's; one that is not there is zero.
template <typename F, bool pairs, typename Use>
MINKE_INLINE void for_each_two_of_rest(const Walk& walk, int c, int cols, const Use& use) {
  std::byte rest[kPanel * kPiece<F>] = {};
  for (int r = 0; r < kPanel; ++r)
    std::memcpy(rest + kPiece<F> * r, walk.rows[r] + c * F::kBytes,
                static_cast<size_t>((cols - c) * F::kBytes));
  constexpr int kColumns = 16 / F::kBytes;
  for (int from = 0; from < cols - c; from += kColumns) {
    Vi w[4];
    transpose4(Strided{rest, kPiece<F>}, from * F::kBytes, w);
    for_each_two<F, pairs>(w, [&](auto j, const Vi* two) MINKE_INLINED { use(from + j, two); });
  }
}

}  // namespace
}  // namespace minke
