#pragma once
// One token times rows of a matrix, each along its columns, where x86 reads them in pieces of 32 bytes: four
// rows at a time of the formats of 256 columns. What gemm would give, to the bit: integers within a block,
// then the same f32 steps in the same order. One struct a format says how (gemv_rows.h, gemv_codebooks.h):
//
//   kBytes             of 256 columns
//   kOffset            what codes are above values, 0 where they are values
//   kMin               whether a minimum is added
//   kSigned            codes are signed values
//   prepare            what is worked out once for a block, to memory
//   at                 a block and what was made ready of it
//   codes(at, i)       the 32 columns from 32 i, in order
//   signed_columns     those of the token, under the signs of weights that keep them apart from codes
//   kD, kDmin, kPower  where a block has its f16 scale and the minimum's (kD < 0: d(block) is the first);
//                      what to multiply the first by
//   scales             times the token's steps, so that 16-bit lane i of both halves belongs to the 32
//                      columns from 32 i: the low half to their first 16, the high half to their last 16
//   above              of 16 sub-blocks in order, what codes are above values times the scale
//   mins               minima times the token's sums, to be added over all lanes

#include <algorithm>
#include <cstring>

#include "kernels/operand.h"
#include "kernels/simd.h"
#include "kernels/simd/bytes.h"
#include "kernels/walk.h"

namespace minke {
namespace {

struct Row256 {
  static constexpr int kOffset = 0, kD = 0, kDmin = 0;
  static constexpr bool kMin = false, kSigned = false;
  static constexpr float kPower = 1.0f;
  struct Ready {};
  using At = const uint8_t*;
  static MINKE_INLINE void prepare(const uint8_t*, Ready&) {}
  static MINKE_INLINE At at(const uint8_t* block, const Ready&) { return block; }
  template <typename At>
  static MINKE_INLINE __m256i signed_columns(const At&, int, __m256i q) {
    return q;
  }
  // One scale per 32: both halves alike.
  static MINKE_INLINE __m256i eight(__m128i scales16, __m128i steps) {
    return _mm256_broadcastsi128_si256(_mm_mullo_epi16(scales16, steps));
  }
  // One per 16 bytes of `scales`: those of even 16s in the low half, of odd ones in the high half.
  static MINKE_INLINE __m256i sixteen(__m128i scales, __m128i steps) {
    const __m128i apart =
        _mm_shuffle_epi8(scales, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    return _mm256_mullo_epi16(_mm256_cvtepi8_epi16(apart), _mm256_broadcastsi128_si256(steps));
  }
  template <typename F>
  static MINKE_INLINE __m256i times_offset(__m128i scales) {
    return _mm256_mullo_epi16(_mm256_cvtepi8_epi16(scales), _mm256_set1_epi16(F::kOffset));
  }
};

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

// total + products * scale, in sums of two.
MINKE_INLINE __m256i add_pairs(__m256i total, __m256i products, __m256i scale) {
#if defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(total, products, scale);
#else
  return _mm256_add_epi32(total, _mm256_madd_epi16(products, scale));
#endif
}

MINKE_INLINE __m256i columns_of(const QuantTile<1>& x, int i) { return load256(x.q[8 * i]); }

// A shuffle within halves: byte i / 8 of four.
MINKE_INLINE __m256i eighths() {
  return _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                          2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
}

// Byte c: all bits set where bit c is.
MINKE_INLINE __m256i bytes_of_bits(uint32_t bits) {
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bits)), eighths());
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
}

// ---- 256 columns under integer scales, four rows at a time

// The block's integers of one row in eight lanes, over the 32s in `subs`.
template <typename F>
MINKE_INLINE __m256i row_total(const typename F::At& at, const QuantTile<1>& x, __m128i steps,
                               uint32_t subs) {
  const __m256i scales = F::scales(at, steps);  // shuffle i gives the 16-bit scales of 32 columns i
  __m256i totals[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  const auto add = [&](auto i) MINKE_INLINED {
    const __m256i scale =
        _mm256_shuffle_epi8(scales, _mm256_set1_epi16(static_cast<int16_t>(0x0100 + 0x0202 * i)));
    const __m256i products = pairs<F>(F::codes(at, i), F::signed_columns(at, i, columns_of(x, i)));
    __m256i& total = totals[i % 2];
    total = add_pairs(total, products, scale);
    asm volatile("" : "+x"(total));  // GCC 12 would reorder the additions, and run out of registers
  };
  if (subs == ~0u) {
    unroll<8>(add);
  } else {
    for (; subs != 0; subs &= subs - 1) add(__builtin_ctz(subs));
  }
  __m256i total = _mm256_add_epi32(totals[0], totals[1]);
  if constexpr (F::kOffset != 0)
    total = _mm256_sub_epi32(total, _mm256_madd_epi16(F::above(at), load256(x.token[0].steps_sum16)));
  return total;
}

MINKE_INLINE uint16_t half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, 2);
  return half;
}
// The f16 scale of a block.
template <typename F>
MINKE_INLINE uint16_t d_of(const uint8_t* block) {
  if constexpr (F::kD < 0)
    return F::d(block);
  else
    return half_at(block + F::kD);
}

// out += one block of four rows, in the order of integer_values (tile_products.h).
template <typename F>
MINKE_INLINE __m128 add_block(const uint8_t* const rows[4], int64_t offset, const QuantTile<1>& x,
                              uint32_t subs, __m128 out) {
  const __m128i steps = load128(x.token[0].steps);
  __m256i total[4], min[4];
  __m128i d = _mm_setzero_si128(), dmin = d;
  // Of all rows at first, or each would wait for its own.
  typename F::Ready ready[4];
  unroll<4>([&](auto r) MINKE_INLINED { F::prepare(rows[r] + offset, ready[r]); });
  unroll<4>([&](auto r) MINKE_INLINED {
    const uint8_t* block = rows[r] + offset;
    total[r] = row_total<F>(F::at(block, ready[r]), x, steps, subs);
    d = _mm_insert_epi16(d, d_of<F>(block), r);
    if constexpr (F::kMin) {
      dmin = _mm_insert_epi16(dmin, half_at(block + F::kDmin), r);
      min[r] = F::mins(block, x);
    }
  });
  __m128 scale = _mm_cvtph_ps(d);
  if constexpr (F::kPower != 1.0f) scale = _mm_mul_ps(scale, _mm_set1_ps(F::kPower));
  __m128 value = _mm_mul_ps(scale, _mm_cvtepi32_ps(sums_of_4(total)));
  if constexpr (F::kMin) value = _mm_fnmadd_ps(_mm_cvtph_ps(dmin), _mm_cvtepi32_ps(sums_of_4(min)), value);
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
    const std::byte* far = share_ahead<4>(w, first_row + r, 0, F::kBytes);
    if (!far) far = w.row(first_row + r);
    for (int b = 0; b < blocks; ++b, far += 4 * F::kBytes) {
      const int64_t offset = int64_t{b} * F::kBytes;
      for (int i = 0; i < 4 * F::kBytes; i += 64) __builtin_prefetch(far + i, 0, 2);
      prefetch_block<4, 2>(w, first_row + r, b, F::kBytes, 0, 4);
      sum = add_block<F>(at, offset, tiles[b], ~0u, sum);
      if (tiles[b].token[0].rest)
        sum = add_block<F>(at, offset, tiles[b + blocks], tiles[b].token[0].rest, sum);
    }
    float result[4];
    _mm_storeu_ps(result, sum);
    for (int i = 0; i < left; ++i) out[r + i] = accumulate ? out[r + i] + result[i] : result[i];
  }
}

}  // namespace
}  // namespace minke
