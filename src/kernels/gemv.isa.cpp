// One token: rows of a matrix as they lie in memory, each multiplied along its columns. What gemm would give,
// to the bit: integers within a block, then the same f32 steps in the same order. Built for AVX2 alone, which
// every wider x86 has too; elsewhere gemm does single tokens as well.

#include "kernels/tables.h"

#if defined(MINKE_ISA_avx2)

#include "kernels/gemv_rows.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// lane r = the sum of v[r]'s eight lanes.
MINKE_INLINE __m128i sums_of_4(const __m256i v[4]) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
  const __m256i abcd = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

MINKE_INLINE __m256i sums_of_8(const __m256i v[8]) {
  return _mm256_set_m128i(sums_of_4(v + 4), sums_of_4(v));
}

// Codes of 32 columns times q: 16 sums of two.
template <typename F>
MINKE_INLINE __m256i pairs(__m256i codes, __m256i q) {
  if constexpr (F::kSigned)
    return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(q, codes));
  else
    return _mm256_maddubs_epi16(codes, q);
}

MINKE_INLINE __m256i columns_of(const QuantTile<1>& x, int i) { return load256(x.q[8 * i]); }

// ---- 256 columns under integer scales, four rows at a time

// The block's integers of one row in eight lanes, over the 32s in `subs`.
template <typename F>
MINKE_INLINE __m256i row_total(const uint8_t* block, const QuantTile<1>& x, __m128i steps, uint32_t subs) {
  const __m256i scales =
      F::scales(block, steps);  // lane pairs: shuffle i gives the 16-bit scales of 32 columns i
  __m256i total = _mm256_setzero_si256();
  const auto add = [&](auto i) MINKE_INLINED {
    const __m256i scale =
        _mm256_shuffle_epi8(scales, _mm256_set1_epi16(static_cast<int16_t>(0x0100 + 0x0202 * i)));
    const __m256i products = pairs<F>(F::codes(block, i), columns_of(x, i));
    total = _mm256_add_epi32(total, _mm256_madd_epi16(products, scale));
    asm volatile("" : "+x"(total));  // GCC 12 would reorder the additions, and run out of registers
  };
  if (subs == ~0u) {
    unroll<8>(add);
  } else {
    for (; subs != 0; subs &= subs - 1) add(__builtin_ctz(subs));
  }
  if constexpr (F::kOffset > 0) {
    const __m256i above = _mm256_madd_epi16(F::plain_scales(block), load256(x.token[0].steps_sum16));
    total = _mm256_sub_epi32(total, _mm256_mullo_epi32(above, _mm256_set1_epi32(F::kOffset)));
  }
  return total;
}

// out += one block of four rows, in the order of integer_values (tile_products.h).
template <typename F>
MINKE_INLINE __m128 add_block(const uint8_t* const rows[4], int64_t offset, const QuantTile<1>& x,
                              uint32_t subs, __m128 out) {
  const __m128i steps = _mm_packs_epi32(load128(x.token[0].step), load128(x.token[0].step + 4));
  __m256i total[4], min[4];
  alignas(16) uint16_t d[8], dmin[8];
  unroll<4>([&](auto r) MINKE_INLINED {
    const uint8_t* block = rows[r] + offset;
    total[r] = row_total<F>(block, x, steps, subs);
    std::memcpy(&d[r], block + F::kD, 2);
    if constexpr (F::kMin) {
      std::memcpy(&dmin[r], block + F::kDmin, 2);
      min[r] = F::mins(block, x);
    }
  });
  const auto floats = [](const uint16_t* h) { return _mm_cvtph_ps(load128(h)); };
  __m128 value = _mm_mul_ps(floats(d), _mm_cvtepi32_ps(sums_of_4(total)));
  if constexpr (F::kMin) value = _mm_fnmadd_ps(floats(dmin), _mm_cvtepi32_ps(sums_of_4(min)), value);
  return _mm_fmadd_ps(value, _mm_set1_ps(x.token[0].scale), out);
}

// rows[n]: pointers to the rows, the last repeated where fewer are left.
MINKE_INLINE void row_pointers(const Mat& w, int first, int left, int n, const uint8_t** rows) {
  for (int r = 0; r < n; ++r)
    rows[r] = reinterpret_cast<const uint8_t*>(w.row(first + (r < left ? r : left - 1)));
}

template <typename F>
void gemv_integer(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool accumulate) {
  const auto* tiles = reinterpret_cast<const QuantTile<1>*>(x.data);
  const int blocks = blocks_of(x.cols);
  for (int r = 0; r < rows; r += 4) {
    const int left = std::min(4, rows - r);
    const uint8_t* at[4];
    row_pointers(w, first_row + r, left, 4, at);
    __m128 sum = _mm_setzero_ps();
    for (int b = 0; b < blocks; ++b) {
      const int64_t offset = int64_t{b} * F::kBytes;
      prefetch_ahead<4, 2>(w, first_row + r, b, F::kBytes, 0, 4);
      sum = add_block<F>(at, offset, tiles[b], ~0u, sum);
      if (tiles[b].token[0].rest)
        sum = add_block<F>(at, offset, tiles[b + blocks], tiles[b].token[0].rest, sum);
    }
    float result[4];
    _mm_storeu_ps(result, sum);
    for (int i = 0; i < left; ++i) out[r + i] = accumulate ? out[r + i] + result[i] : result[i];
  }
}

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
    total = _mm256_add_epi32(total, _mm256_set1_epi32(F::kOffset * token.below32[i]));
  scale = _mm256_mul_ps(scale, _mm256_set1_ps(static_cast<float>(token.step[i])));
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
  if (x.grain == Grain::f32 || w.interleaved) return false;
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
    default: return false;
  }
}

}  // namespace

void MINKE_FILL(gemv)(Kernels& table) { table.gemv = gemv; }

}  // namespace minke

#endif
