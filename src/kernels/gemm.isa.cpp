// Products of weight rows with prepared activations, for every format of blocks. Sixteen rows at a time are
// unpacked, block by block of 256 columns, into a panel that lies in the L1 cache, and meet all tokens there,
// a register tile of them at a time.

#include <algorithm>

#include "kernels/panel_sums.h"
#include "kernels/simd.h"
#include "kernels/tables.h"
#include "kernels/tile_products.h"
#include "kernels/unpack.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// Memory of one call: a panel, its f32 form, a copy of rows where fewer than 16 are left, and partial sums.
struct alignas(64) Scratch {
  Panel panel;
  int32_t wide[kBlock][kPanel];
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
  Ahead ahead;
  if (one_tile)
    ahead = Lie::template ahead<kTokenTile>(w, first, block);
  else
    ahead = Lie::template ahead<kPanelTokens>(w, first, block);
  unpack<F>(Lie::at(w, first, rows, block, bytes, s.rows), subs, s.panel, [&](int i, int n) MINKE_INLINED {
    const int from = kPanel * i / n, to = kPanel * (i + 1) / n;
    if (one_tile)
      Lie::template ask<kTokenTile>(ahead, from, to);
    else
      Lie::template ask<kPanelTokens>(ahead, from, to);
  });
}

// A panel's values in f32, rounded as the reference dequantisers round.
template <typename F>
void widen(const Panel& p, int subs, int32_t (*wide)[kPanel]) {
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
        store(wide[4 * k + b], as_int(F::kMin ? add(value, min) : value));
      });
    }
  }
}

// Where results will be written: token t's at out + t * stride.
struct Results {
  float* out;
  int64_t stride;
};

// What prefetch_beside asks for.
template <typename F>
MINKE_INLINE void ask_near(const Mat& w, const NextPanel& next, int from, int to) {
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
          add_columns<false, T>(s.wide, 0, cols, 1.0f, tile, none, out + p * T * kPanel);
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
          if (tiles > 1)
            prefetch_beside(first_token / kTokenTile, tiles,
                            [&](int from, int to) MINKE_INLINED { ask_near<F>(w, next, from, to); });
          multiply_tile<F, T>(s.panel, many ? &steps : nullptr, subs, tile, none, out);
          uint32_t any = 0;
          unroll<T>([&](auto t) MINKE_INLINED { any |= tile.token[t].rest; });
          for (int t = 0; any != 0 && t < T; ++t)
            if (tile.token[t].rest)
              multiply_rest<F>(s.panel, rests[first_token + t], tile.token[t].rest, out + t * kPanel);
        });
      }
    }
  }
}

using Gemm = void (*)(const Mat&, int, int, const Operand&, float*, Scratch&, const Results&);

Gemm gemm_of(Format format) {
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
