// Products with weights that are floats: rows meet few tokens in registers (few_floats.h), and many by way of
// panels in the L1 cache. BF16 and FP8 meet activations in bf16, by an instruction for pairs of them or in
// f32 to the same bits.

#include <algorithm>

#include "kernels/bf16.h"
#include "kernels/few_floats.h"
#include "kernels/panel_sums.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// Memory of one call: a panel, a copy of rows where fewer than 16 are left, and sums as for_tiles has them.
struct alignas(64) Scratch {
  int32_t words[kBlock][kPanel];
  std::byte rows[kPanel * kBlock * 4];
};
static_assert(sizeof(Scratch) <= kGemmScratch);

// A panel at a block: its columns two by two.
template <typename F, bool pairs>
void fill_words(const Mat& w, int first, int rows, int block, int cols, Scratch& s) {
  const int64_t bytes = int64_t{cols} * F::kBytes;
  const Walk walk = rows_at(w, first, rows, int64_t{block} * kBlock * F::kBytes, bytes, s.rows);
  constexpr int kWords = kWordsOfTwo<pairs>;
  int c = 0;
  const auto put = [&](int j, const Vi* two) MINKE_INLINED {
    unroll<kWords>([&](auto i) MINKE_INLINED { store(s.words[(c + j) / 2 * kWords + i], two[i]); });
  };
  for (; c + kPieceColumns<F> <= cols; c += kPieceColumns<F>)
    for_each_two_of_pieces<F, pairs, 1>(walk, c,
                                        [&](auto, auto j, const Vi* two) MINKE_INLINED { put(j, two); });
  if (c < cols) for_each_two_of_rest<F, pairs>(walk, c, cols, put);
}

template <typename F, bool pairs>
void multiply_many(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                   bool add, Scratch& s) {
  auto* sums = reinterpret_cast<float*>(&s + 1);
  const int panels = (rows + kPanel - 1) / kPanel, tiles = (x.tokens + kTokenTile - 1) / kTokenTile;
  for (int block = 0; block < blocks_of(w.cols); ++block) {
    const int cols = std::min(kBlock, w.cols - block * kBlock);
    const int64_t bytes = int64_t{cols} * F::kBytes;
    for (int p = 0; p < panels; ++p) {
      const int first = first_row + p * kPanel;
      fill_words<F, pairs>(w, first, std::min(kPanel, rows - p * kPanel), block, cols, s);
      const std::byte* far = share_ahead<kPanel>(w, first, block, bytes);
      const NextPanel next = next_panel(w, first_row, rows, block, p, panels);
      for_tiles(x, block, sums, panels, [&](auto T, const std::byte* tile, int t, float* tile_sums) {
        prefetch_beside(t / kTokenTile, tiles, [&](int from, int to) MINKE_INLINED {
          if (far)
            for (int64_t b = from * bytes; b < to * bytes; b += 64) __builtin_prefetch(far + b, 0, 2);
          prefetch_block<kPanel, 0>(w, next.row, next.block, bytes, from, to);
        });
        for (int from = 0; from < cols; from += kChain)
          add_columns<pairs, T>(s.words, from, std::min(kChain, cols - from),
                                factor_at<F>(w, first, block, from), tile, block == 0 && from == 0,
                                tile_sums + p * T * kPanel);
      });
    }
  }
  write_out(sums, rows, x.tokens, out, stride, add);
}

template <typename F, bool pairs>
void multiply(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add,
              std::byte* scratch) {
  if (few_are(x.tokens)) return multiply_few<F, pairs>(w, first_row, rows, x, out, stride, add);
  multiply_many<F, pairs>(w, first_row, rows, x, out, stride, add, *reinterpret_cast<Scratch*>(scratch));
}

// Not inlined: what is set for denormals must stand around all of it.
template <typename F>
__attribute__((noinline)) void multiply_rounded(const Mat& w, int first_row, int rows, const Operand& x,
                                                float* out, int64_t stride, bool add, std::byte* scratch) {
  multiply<F, kBf16Dots>(w, first_row, rows, x, out, stride, add, scratch);
}

void floats(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add,
            std::byte* scratch) {
  const auto in_f32 = [&](auto f) {
    multiply<decltype(f), false>(w, first_row, rows, x, out, stride, add, scratch);
  };
  const auto either = [&](auto f) {
    if (x.grain == Grain::f32) return in_f32(f);
    // FP8 is unpacked by way of subnormal numbers, and is none itself.
    const Denormals before = flush_denormals(w.format == Format::bf16);
    multiply_rounded<decltype(f)>(w, first_row, rows, x, out, stride, add, scratch);
    restore(before);
  };
  switch (w.format) {
    case Format::f32: return in_f32(UnpackF32{});
    case Format::f16: return in_f32(UnpackF16{});
    case Format::bf16: return either(UnpackBf16{});
    case Format::f8_e4m3: return either(UnpackF8{});
    default: return;  // gemm's
  }
}

}  // namespace

void MINKE_FILL(floats)(Kernels& table) { table.floats = floats; }

}  // namespace minke
