// One token on AVX2: rows of a matrix as they lie in memory, each multiplied along its columns
// (row_products.h); here the formats of 32 columns. Wider instruction sets and NEON: stream.isa.cpp.

#include "kernels/tables.h"

#if defined(MINKE_ISA_avx2)

#include "kernels/gemv_codebooks.h"
#include "kernels/gemv_rows.h"

namespace minke {
namespace {

// ---- 32 columns under f32 scales, eight rows at a time

// value += 32 columns of eight rows, in the order of add_scaled_32 (tile_products.h).
template <typename F>
MINKE_INLINE __m256 add_columns(const uint8_t* const at[8], int64_t offset, __m256 scale, __m256 min,
                                const QuantTile<1>& x, int i, __m256 value) {
  const __m256i q = columns_of(x, i), one = _mm256_set1_epi16(1);
  const TokenBlock& token = x.token[0];
  __m256i sum[8];
  unroll<8>([&](auto r) MINKE_INLINED {
    sum[r] = _mm256_madd_epi16(pairs<F>(F::codes(at[r] + offset), q), one);
    asm volatile("" : "+x"(sum[r]));
  });
  __m256i total = sums_of_8(sum);
  if constexpr (F::kOffset > 0)
    total = _mm256_add_epi32(total, _mm256_set1_epi32(token.below32[i] / (kBelow32 / F::kOffset)));
  scale = _mm256_mul_ps(scale, _mm256_set1_ps(token.f32_step[i]));
  value = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(total), value);
  if constexpr (F::kMin) value = _mm256_fmadd_ps(min, _mm256_set1_ps(token.step_sum[i]), value);
  return value;
}

template <typename F>
void gemv_float_scales(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool accumulate) {
  const auto* tiles = reinterpret_cast<const QuantTile<1>*>(x.data);
  const int blocks = blocks_of(x.cols), groups = x.cols / 32;
  for (int r = 0; r < rows; r += 8) {
    const int left = std::min(8, rows - r);
    const uint8_t* at[8];
    row_pointers(w, first_row + r, left, 8, at);
    __m256 sum = _mm256_setzero_ps();
    for (int b = 0; b < blocks; ++b) {
      const QuantTile<1>&tile = tiles[b], &second = tiles[b + blocks];
      const uint32_t columns = tile.token[0].rest;
      __m256 value = _mm256_setzero_ps(), rest = value;
      for (int i = 0; i < std::min(8, groups - 8 * b); ++i) {
        const int64_t offset = int64_t{8 * b + i} * F::kBytes;
        prefetch_ahead<8, 2>(w, first_row + r, b, F::kBytes * 8, i, i + 1);
        const __m256 scale = F::scale(at, offset);
        __m256 min = _mm256_setzero_ps();
        if constexpr (F::kMin) min = halves(at, offset + 2);
        value = add_columns<F>(at, offset, scale, min, tile, i, value);
        if (columns >> i & 1) rest = add_columns<F>(at, offset, scale, min, second, i, rest);
      }
      sum = _mm256_fmadd_ps(value, _mm256_set1_ps(tile.token[0].scale), sum);
      if (columns != 0) sum = _mm256_fmadd_ps(rest, _mm256_set1_ps(second.token[0].scale), sum);
    }
    alignas(32) float result[8];
    _mm256_store_ps(result, sum);
    for (int n = 0; n < left; ++n) out[r + n] = accumulate ? out[r + n] + result[n] : result[n];
  }
}

bool gemv(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add) {
  if (w.interleaved || x.grain != Grain::int8) return false;
  switch (w.format) {
    case Format::q4_0: gemv_float_scales<RowQ4_0>(w, first_row, rows, x, out, add); return true;
    case Format::q4_1: gemv_float_scales<RowQ4_1>(w, first_row, rows, x, out, add); return true;
    case Format::q5_0: gemv_float_scales<RowQ5_0>(w, first_row, rows, x, out, add); return true;
    case Format::q5_1: gemv_float_scales<RowQ5_1>(w, first_row, rows, x, out, add); return true;
    case Format::q8_0: gemv_float_scales<RowQ8_0>(w, first_row, rows, x, out, add); return true;
    case Format::iq4_nl: gemv_float_scales<RowIq4Nl>(w, first_row, rows, x, out, add); return true;
    case Format::mxfp4: gemv_float_scales<RowMxfp4>(w, first_row, rows, x, out, add); return true;
    case Format::q2_k: gemv_integer<RowQ2K>(w, first_row, rows, x, out, add); return true;
    case Format::q3_k: gemv_integer<RowQ3K>(w, first_row, rows, x, out, add); return true;
    case Format::q4_k: gemv_integer<RowQ4K>(w, first_row, rows, x, out, add); return true;
    case Format::q5_k: gemv_integer<RowQ5K>(w, first_row, rows, x, out, add); return true;
    case Format::q6_k: gemv_integer<RowQ6K>(w, first_row, rows, x, out, add); return true;
    case Format::iq4_xs: gemv_integer<RowIq4Xs>(w, first_row, rows, x, out, add); return true;
    default: return gemv_codebooks(w, first_row, rows, x, out, add);
  }
}

}  // namespace

void MINKE_FILL(gemv)(Kernels& table) { table.gemv = gemv; }

}  // namespace minke

#endif
