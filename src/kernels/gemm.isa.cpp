// Products of weight rows with prepared activations, for every format. Sixteen rows at a time are unpacked,
// block by block of 256 columns, into a panel that lies in the L1 cache, and meet all tokens there, a
// register tile of them at a time.

#include <algorithm>

#include "kernels/tables.h"

#if defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(gemm)(Kernels& table) { fill_gemm_avx512_vnni(table); }

#else

#include "kernels/float_columns.h"
#include "kernels/simd.h"
#include "kernels/tile_products.h"
#include "kernels/unpack.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// Memory of one call: a panel, its f32 form, a copy of rows where fewer than 16 are left, and partial sums.
struct alignas(64) Scratch {
  Panel panel;
  float wide[kBlock][kPanel];
  std::byte rows[kPanel * kBlock * 4];
};
float* sums_of(Scratch& s) { return reinterpret_cast<float*>(&s + 1); }  // [tile][panel][token][16]

// prefetch(i, n) is called between pieces, for the i-th of n.
template <typename F, typename At, typename Prefetch>
MINKE_INLINE void unpack(const At& at, int subs, Panel& p, const Prefetch& prefetch) {
  if constexpr (F::kIntegerScales) {
    const auto header = F::header(at, p);
    unroll<F::kChunks>([&](auto c) MINKE_INLINED {
      prefetch(c, F::kChunks);
      F::template codes<c>(at, header, p);
    });
  } else {
    for (int i = 0; i < subs; ++i) {
      prefetch(i, subs);
      F::unpack(at.group(i * F::kBytes), i, p);
    }
  }
}

// 16 rows of w at a block into the panel. Lie: how w lies (walk.h). one_tile: of tokens, beside which there
// is no time to prefetch.
template <typename F, typename Lie>
MINKE_INLINE void fill_panel(const Mat& w, int first, int rows, int block, int subs, bool one_tile,
                             Scratch& s) {
  const int64_t bytes = F::kIntegerScales ? F::kBytes : F::kBytes * subs;
  const Ahead ahead = one_tile ? Lie::template ahead<kTokenTile>(w, first, block)
                               : Lie::template ahead<kPanelTokens>(w, first, block);
  unpack<F>(Lie::at(w, first, rows, block, bytes, s.rows), subs, s.panel, [&](int i, int n) MINKE_INLINED {
    const int from = kPanel * i / n, to = kPanel * (i + 1) / n;
    if (one_tile)
      Lie::template ask<kTokenTile>(ahead, from, to);
    else
      Lie::template ask<kPanelTokens>(ahead, from, to);
  });
}

// One block in f32.
template <int T>
void multiply_wide(const float (*w)[kPanel], int cols, const FloatTile<T>& x, bool first, float* out) {
  Vf total[T];
  unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_f(); });
  for (int k = 0; k < cols; ++k) {
    const Vf row = load(w[k]);
    unroll<T>([&](auto t) MINKE_INLINED { total[t] = fma(row, set1(x.x[k][t]), total[t]); });
  }
  unroll<T>([&](auto t)
                MINKE_INLINED { store(out + kPanel * t, add(before(first, out + kPanel * t), total[t])); });
}

// A panel's values in f32, rounded as the reference dequantisers round.
template <typename F>
void widen(const Panel& p, int subs, float (*wide)[kPanel]) {
  constexpr bool kSigned = F::kOffset == 128 && kSignedCodes;
  const Vf offset = set1(static_cast<float>(F::kOffset));
  for (int i = 0; i < subs; ++i) {
    Vf scale, min = zero_f();
    if constexpr (F::kIntegerScales) {
      scale = mul(load(p.d), to_float(load(p.scale[i])));
      if constexpr (F::kMin) {
        alignas(64) int32_t m[kPanel];
        for (int r = 0; r < kPanel; ++r) m[r] = p.min[i / 2][r][i % 2];
        min = sub(zero_f(), mul(load(p.dmin), to_float(load(m))));
      }
    } else {
      scale = load(p.fscale[i]);
      if constexpr (F::kMin) min = load(p.fmin[i]);
    }
    for (int k = i * F::kSub / 4; k < (i + 1) * F::kSub / 4; ++k) {
      const Vi word = kSigned ? bit_xor(code_word(p, k), bytes_of(128)) : code_word(p, k);
      unroll<4>([&](auto b) MINKE_INLINED {
        const Vf value = mul(scale, sub(to_float(byte_of<b>(word)), offset));
        store(wide[4 * k + b], F::kMin ? add(value, min) : value);
      });
    }
  }
}

// multiply<T>(tile, first token, sums) over all tokens, in the widths of for_each_tile.
template <typename Multiply>
MINKE_INLINE void for_tiles(const Operand& x, int block, float* sums, int panels, Multiply multiply) {
  const int64_t bytes = token_bytes(x.grain);
  const std::byte* tiles = x.data + bytes * x.tokens * block;
  for_each_tile(0, x.tokens, [&](auto T, int t) MINKE_INLINED {
    multiply(T, tiles + bytes * t, t, sums + int64_t{panels} * kPanel * t);
  });
}

// Where results will be written: token t's at out + t * stride.
struct Results {
  float* out;
  int64_t stride;
};

// The panel that is unpacked after panel p of `panels` at a block of w.
struct NextPanel {
  int row, block;
};
NextPanel next_panel(const Mat& w, int first_row, int rows, int block, int p, int panels) {
  if (p + 1 < panels) return {first_row + (p + 1) * kPanel, block};
  if (block + 1 < blocks_of(w.cols)) return {first_row, block + 1};
  return {first_row + rows, 0};
}

// Beside tile i of n, that tile's part of the panel into L1. Beside the last ones only where there are many,
// since the tokens' bytes would push it out again.
template <typename F>
MINKE_INLINE void prefetch_beside(const Mat& w, const NextPanel& next, int i, int n) {
  if (n > kPanel) i -= n - kPanel;
  if (i < 0) return;
  const int parts = std::min(n, kPanel), from = kPanel * i / parts, to = kPanel * (i + 1) / parts;
  if (!w.interleaved)
    AsFiled<F>::ask_near(w, next.row, next.block, from, to);
  else if constexpr (interleaves(F::kFormat))
    AsInterleaved<F>::ask_near(w, next.row, next.block, from, to);
}

// All blocks of up to four panels. Sums lie as [tile][panel][token][16].
template <typename F>
void gemm_quantised(const Mat& w, int first_row, int rows, const Operand& x, float* sums, Scratch& s,
                    const Results& results) {
  const int panels = (rows + kPanel - 1) / kPanel, tiles = (x.tokens + kTokenTile - 1) / kTokenTile;
  Steps steps;
  for (int block = 0; block < blocks_of(w.cols); ++block) {
    const int subs = F::kSub == 32 ? std::min(8, (w.cols - block * kBlock + 31) / 32) : 16;
    const QuantTile<1>* rests = rests_of(x, block);
    const bool none = block == 0;  // there are no sums yet
    const bool last = block + 1 == blocks_of(w.cols);
    for (int p = 0; p < panels; ++p) {
      const int first = first_row + p * kPanel, here = std::min(kPanel, rows - p * kPanel);
      if (!w.interleaved)
        fill_panel<F, AsFiled<F>>(w, first, here, block, subs, tiles == 1, s);
      else if constexpr (interleaves(F::kFormat))
        fill_panel<F, AsInterleaved<F>>(w, first, here, block, subs, tiles == 1, s);
      if (x.grain == Grain::f32) {
        widen<F>(s.panel, subs, s.wide);
        const int cols = std::min(kBlock, w.cols - block * kBlock);
        for_tiles(x, block, sums, panels, [&](auto T, const std::byte* tile, int, float* out) {
          multiply_wide<T>(s.wide, cols, *reinterpret_cast<const FloatTile<T>*>(tile), none,
                           out + p * T * kPanel);
        });
      } else {
        const bool many = kTakesSteps<F> && x.tokens >= kManyTokens;
        if (many) make_steps<F>(s.panel, subs, steps);
        const NextPanel next = next_panel(w, first_row, rows, block, p, panels);
        for_tiles(x, block, sums, panels, [&](auto T, const std::byte* at, int first_token, float* out) {
          const auto& tile = *reinterpret_cast<const QuantTile<T>*>(at);
          out += p * T * kPanel;
          if (last)
            for (int t = first_token; t < first_token + T; ++t)
              __builtin_prefetch(results.out + t * results.stride + p * kPanel, 1, 2);
          if (tiles > 1) prefetch_beside<F>(w, next, first_token / kTokenTile, tiles);
          multiply_tile<F, T>(s.panel, many ? &steps : nullptr, subs, tile, none, out);
          for (int t = 0; t < T; ++t)
            if (tile.token[t].rest)
              multiply_rest<F>(s.panel, rests[first_token + t], tile.token[t].rest, out + t * kPanel);
        });
      }
    }
  }
}

template <typename F>
void gemm_float(const Mat& w, int first_row, int rows, const Operand& x, float* sums, Scratch& s,
                const Results&) {
  const int panels = (rows + kPanel - 1) / kPanel;
  for (int block = 0; block < blocks_of(w.cols); ++block) {
    const int cols = std::min(kBlock, w.cols - block * kBlock);
    const int64_t bytes = int64_t{cols} * F::kBytes, offset = int64_t{block} * kBlock * F::kBytes;
    for (int p = 0; p < panels; ++p) {
      const int first = first_row + p * kPanel, here = std::min(kPanel, rows - p * kPanel);
      const Walk walk = rows_at(w, first, here, offset, bytes, s.rows);
      prefetch_ahead<kPanel, 2>(w, first, block, bytes, 0, kPanel);
      for_each_scale<F>(w, first, block, cols, [&](int from, int count, float factor) MINKE_INLINED {
        for_each_column<F>(walk.group(from * F::kBytes), count, factor,
                           [&](int column, Vf value) MINKE_INLINED { store(s.wide[from + column], value); });
      });
      for_tiles(x, block, sums, panels, [&](auto T, const std::byte* tile, int, float* out) {
        multiply_wide<T>(s.wide, cols, *reinterpret_cast<const FloatTile<T>*>(tile), block == 0,
                         out + p * T * kPanel);
      });
    }
  }
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

using Gemm = void (*)(const Mat&, int, int, const Operand&, float*, Scratch&, const Results&);

Gemm gemm_of(Format format) {
  switch (format) {
    case Format::f32: return gemm_float<UnpackF32>;
    case Format::f16: return gemm_float<UnpackF16>;
    case Format::bf16: return gemm_float<UnpackBf16>;
    case Format::f8_e4m3: return gemm_float<UnpackF8>;
    default: break;
  }
  Gemm found = nullptr;
  with_unpacker(format, [&](auto f) { found = gemm_quantised<decltype(f)>; });
  return found;
}

void gemm(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add,
          std::byte* scratch) {
  static_assert(sizeof(Scratch) <= kGemmScratch);
  auto& s = *reinterpret_cast<Scratch*>(scratch);
  float* sums = sums_of(s);
  // Where memory sets the pace one panel after the other is taken, each along its rows; else the tokens'
  // block stays in L2 while the panels pass over it.
  const int step = x.tokens <= kTokenTile ? kPanel : rows;
  const Gemm multiply = gemm_of(w.format);
  for (int r = 0; r < rows; r += step) {
    const int here = std::min(step, rows - r);
    multiply(w, first_row + r, here, x, sums, s, {out + r, stride});
    write_out(sums, here, x.tokens, out + r, stride, add);
  }
}

}  // namespace

void MINKE_FILL(gemm)(Kernels& table) { table.gemm = gemm; }

}  // namespace minke

#endif
