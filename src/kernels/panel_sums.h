#pragma once
// Sums of the products of panels with all tokens: where they wait between blocks, what columns in f32 or bf16
// add to them, and how they are written.

#include <cstdint>

#include "kernels/float_columns.h"
#include "kernels/operand.h"
#include "kernels/simd.h"

namespace minke {
namespace {

// multiply<T>(tile, first token, sums) over all tokens, in the widths of for_each_tile.
template <typename Multiply>
MINKE_INLINE void for_tiles(const Operand& x, int block, float* sums, int panels, Multiply multiply) {
  const int64_t bytes = token_bytes(x.grain, kBf16Dots);
  const std::byte* tiles = x.data + bytes * x.tokens * block;
  for_each_tile(0, x.tokens, [&](auto T, int t) MINKE_INLINED {
    multiply(T, tiles + bytes * t, t, sums + int64_t{panels} * kPanel * t);
  });
}

// What was summed of an output before this block.
MINKE_INLINE Vf before(bool first, const float* sum) { return first ? zero_f() : load(sum); }

// sums [token][16] (+)= factor * words of columns [from, from + count) times the same columns of a tile.
template <bool pairs, int T>
void add_columns(const int32_t (*words)[kPanel], int from, int count, float factor, const std::byte* tile,
                 bool first, float* sums) {
  constexpr int kWords = kWordsOfTwo<pairs>;
  const auto* x = column<pairs, T>(reinterpret_cast<const TileOf<pairs, T>*>(tile)->x, from);
  Vf total[T];
  unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_f(); });
  words += from / 2 * kWords;
  for (int k = 0; k < (count + 1) / 2; ++k, words += kWords) {
    Vi two[kWords];
    unroll<kWords>([&](auto i) MINKE_INLINED { two[i] = load(words[i]); });
    add_two<pairs, T>(two, column<pairs, T>(x, 2 * k), total);
  }
  unroll<T>([&](auto t) MINKE_INLINED {
    store(sums + kPanel * t, fma(total[t], set1(factor), before(first, sums + kPanel * t)));
  });
}

// Sums [tile][panel][token][16] to out[token * stride + row].
void write_out(const float* sums, int rows, int tokens, float* out, int64_t stride, bool accumulate) {
  for_each_tile(0, tokens, [&](auto T, int first_token) MINKE_INLINED {
    for (int r = 0; r < rows; r += kPanel) {
      for (int t = first_token; t < first_token + T; ++t, sums += kPanel) {
        float* to = out + t * stride + r;
        const Vf value = load(sums);
        if (r + kPanel <= rows)
          store(to, accumulate ? add(load(to), value) : value);
        else
          store_first(to, accumulate ? add(load_first(to, rows - r), value) : value, rows - r);
      }
    }
  });
}

}  // namespace
}  // namespace minke
