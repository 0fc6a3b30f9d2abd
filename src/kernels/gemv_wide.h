#pragma once
// One token times rows of Q5_K and Q6_K, each along its columns, where x86 reads them in pieces of 64 bytes:
// four rows at a time, as row_products.h does in pieces of 32, and to the same bits. Turning sixteen rows'
// words, as stream.h does, takes more instructions than multiplying where codes lie in two places of a block.
// One struct a format says how:
//
//   kBytes           of 256 columns
//   kCodes           where a block has the low four bits of codes; kLargest: the largest code
//   columns(x, q)    the token's, a quarter in each of q[k], in the order in which
//   codes<k>(l, p)   gives those of the block at p, from 64 bytes of low bits
//   Rows             what four rows have beside codes. row(r).scales<k>(): scales times steps, one for two
//                    columns each; row(r).finish: the row's total without what codes are above values;
//                    finish: `out` and the block

#include <array>

#include "kernels/row_products.h"

namespace minke {
namespace {

MINKE_INLINE __m512i load512(const void* p) { return _mm512_loadu_si512(p); }
MINKE_INLINE __m512i both_halves(const void* p) { return _mm512_broadcast_i64x4(load256(p)); }
MINKE_INLINE __m512i halves_of(const void* p, const void* q) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(load256(p)), load256(q), 1);
}
MINKE_INLINE __m512i each_quarter(__m128i a) { return _mm512_broadcast_i32x4(a); }
// Low halves of 64-bit lanes 0 .. 3, and of 4 .. 7.
MINKE_INLINE __m512i by_half(int low, int high) {
  return _mm512_setr_epi64(low, low, low, low, high, high, high, high);
}
// Bits of `ones` where the mask is set, else those of `zeros`.
MINKE_INLINE __m512i choose(__m512i mask, __m512i ones, __m512i zeros) {
  return _mm512_ternarylogic_epi32(zeros, ones, mask, 0xd8);
}

MINKE_INLINE __m512i add_pairs(__m512i total, __m512i products, __m512i scale) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(total, products, scale);
#else
  return _mm512_add_epi32(total, _mm512_madd_epi16(products, scale));
#endif
}

// lane r = the sum of v[r]'s sixteen lanes.
MINKE_INLINE __m128i sums_of_4(const __m512i v[4]) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}

// Codes whose low four bits are `low`'s, or its high ones where k is odd, under the bits of `high`, which
// are in their place.
template <int k>
MINKE_INLINE __m512i codes_of(__m512i low, __m512i high, int largest) {
  const __m512i four = k % 2 ? _mm512_srli_epi16(low, 4) : low;
  return _mm512_and_si512(choose(_mm512_set1_epi8(15), four, high),
                          _mm512_set1_epi8(static_cast<char>(largest)));
}

struct WideQ5K {
  static constexpr int kBytes = 176, kCodes = 48, kLargest = 31;
  // A load has two 32s in its low bits, and the two behind each in its high ones.
  static MINKE_INLINE void columns(const QuantTile<1>& x, __m512i q[4]) {
    unroll<4>([&](auto k) MINKE_INLINED {
      constexpr int first = 4 * (k / 2) + k % 2;  // of 32s
      q[k] = halves_of(x.q[8 * first], x.q[8 * (first + 2)]);
    });
  }
  template <int k>
  static MINKE_INLINE __m512i codes(__m512i low, const uint8_t* block) {
    constexpr int first = 4 * (k / 2) + k % 2;  // whose fifth bits are bits `first` and first + 2
    const __m512i bits = both_halves(block + 16);
    if constexpr (k < 2)
      return codes_of<k>(low, _mm512_sllv_epi64(bits, by_half(4 - first, 2 - first)), kLargest);
    else
      return codes_of<k>(low, _mm512_srlv_epi64(bits, by_half(first - 4, first - 2)), kLargest);
  }

  // Headers of four rows, one in each quarter, decoded together.
  struct Rows {
    const TokenBlock& token;
    __m512i header, first, last;  // scales times steps, twice each: of the first four 32s, of the last
    __m512i mins;                 // four lanes a row

    MINKE_INLINE Rows(const uint8_t* const rows[4], int64_t offset, const TokenBlock& t) : token(t) {
      header = _mm512_castsi128_si512(load128(rows[0] + offset));
      header = _mm512_mask_broadcast_i32x4(header, 0xf0, load128(rows[1] + offset));
      header = _mm512_mask_broadcast_i32x4(header, 0xf00, load128(rows[2] + offset));
      header = _mm512_mask_broadcast_i32x4(header, 0xf000, load128(rows[3] + offset));
      // Bytes into words: those of the last four have the low bits in one byte, the two high ones in another.
      const auto words = [&](__m128i which)
                             MINKE_INLINED { return _mm512_shuffle_epi8(header, each_quarter(which)); };
      const __m512i scale = words(_mm_setr_epi8(4, -1, 5, -1, 6, -1, 7, -1, 12, 4, 13, 5, 14, 6, 15, 7));
      const __m512i min = words(_mm_setr_epi8(-1, 8, -1, 9, -1, 10, -1, 11, 12, 8, 13, 9, 14, 10, 15, 11));
      const __m512i low_bits = each_quarter(_mm_setr_epi16(63, 63, 63, 63, 15, 15, 15, 15)),
                    high_bits = each_quarter(_mm_setr_epi16(0, 0, 0, 0, 48, 48, 48, 48));
      const auto six_bits = [&](__m512i low, __m512i word) MINKE_INLINED {
        return _mm512_or_si512(_mm512_and_si512(low, low_bits),
                               _mm512_and_si512(_mm512_srli_epi16(word, 10), high_bits));
      };
      const __m512i low_mins = _mm512_srlv_epi16(min, each_quarter(_mm_setr_epi16(8, 8, 8, 8, 4, 4, 4, 4)));
      const __m512i scaled = _mm512_mullo_epi16(six_bits(scale, scale), each_quarter(load128(t.steps)));
      first = _mm512_unpacklo_epi16(scaled, scaled);
      last = _mm512_unpackhi_epi16(scaled, scaled);
      mins = _mm512_madd_epi16(six_bits(low_mins, min), each_quarter(load128(t.steps_sum)));
    }
    template <int r>
    struct Row {
      __m512i first, last;
      template <int k>
      MINKE_INLINE __m512i scales() const {
        constexpr int a = 4 * r + k % 2, b = a + 2;
        const __m512i which = _mm512_setr_epi32(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b);
        return _mm512_permutexvar_epi32(which, k < 2 ? first : last);
      }
      MINKE_INLINE __m512i finish(__m512i total) const { return total; }
    };
    template <int r>
    MINKE_INLINE Row<r> row(Index<r>) const {
      return {first, last};
    }
    MINKE_INLINE __m128 finish(const __m512i totals[4], __m128 out) const {
      __m512i min = _mm512_add_epi32(mins, _mm512_shuffle_epi32(mins, _MM_PERM_BADC));
      min = _mm512_add_epi32(min, _mm512_shuffle_epi32(min, _MM_PERM_CDAB));
      const auto firsts = [](__m512i of_rows) MINKE_INLINED {
        const __m512i which = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
        return _mm512_castsi512_si128(_mm512_permutexvar_epi32(which, of_rows));
      };
      const __m128i apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
      const __m256 d = _mm256_cvtph_ps(_mm_shuffle_epi8(firsts(header), apart));  // and dmin
      __m128 value = _mm_mul_ps(_mm256_castps256_ps128(d), _mm_cvtepi32_ps(sums_of_4(totals)));
      value = _mm_fnmadd_ps(_mm256_extractf128_ps(d, 1), _mm_cvtepi32_ps(firsts(min)), value);
      return _mm_fmadd_ps(value, _mm_set1_ps(token.scale), out);
    }
  };
};

// A shuffle of bytes within quarters: byte from(4 j + i) to the high half of word j < 4 of quarter i, and
// zeros.
template <typename From>
constexpr std::array<uint8_t, 64> in_high_bytes(const From& from) {
  std::array<uint8_t, 64> bytes{};
  bytes.fill(0x80);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      bytes[static_cast<size_t>(16 * i + 2 * j + 1)] = static_cast<uint8_t>(from(4 * j + i));
  return bytes;
}

struct WideQ6K {
  static constexpr int kBytes = 210, kCodes = 0, kLargest = 63;
  static MINKE_INLINE void columns(const QuantTile<1>& x, __m512i q[4]) {
    unroll<4>([&](auto k) MINKE_INLINED { q[k] = load512(x.q[16 * k]); });
  }
  template <int k>
  static MINKE_INLINE __m512i codes(__m512i low, const uint8_t* block) {
    const __m512i bits = both_halves(block + 128 + 32 * (k / 2));
    if constexpr (k % 2 == 0)
      return codes_of<k>(low, _mm512_sllv_epi64(bits, by_half(4, 2)), kLargest);
    else
      return codes_of<k>(low, _mm512_srlv_epi64(bits, by_half(0, 2)), kLargest);
  }

  // Sub-blocks 4 k .. 4 k + 3 meet q[k], one in each quarter. So that shuffles within quarters find their
  // numbers, quarter i has those of 4 j + i in its words j < 4, and zeros behind them.
  struct Rows {
    const uint8_t* const* rows;
    int64_t offset;
    float scale;
    __m512i steps, sums;  // 256 times the token's steps; steps times its sums of 16

    MINKE_INLINE Rows(const uint8_t* const of[4], int64_t at, const TokenBlock& token)
        : rows(of), offset(at), scale(token.scale) {
      alignas(64) static constexpr auto kSteps = in_high_bytes([](int sub) { return sub / 2 * 2; });
      alignas(64) static constexpr auto kSums = [] {
        std::array<uint16_t, 32> from{};
        for (size_t n = 0; n < from.size(); ++n) from[n] = static_cast<uint16_t>(n % 8 * 4 + n / 8);
        return from;
      }();
      steps = _mm512_shuffle_epi8(each_quarter(load128(token.steps)), load512(kSteps.data()));
      sums = _mm512_maskz_permutexvar_epi16(0x0f0f0f0f, load512(kSums.data()),
                                            _mm512_zextsi256_si512(load256(token.steps_sum16)));
    }
    struct Row {
      __m512i scaled, above;  // scales times steps; eight times what codes are above values, times those
      template <int k>
      MINKE_INLINE __m512i scales() const {
        return _mm512_shuffle_epi8(scaled, _mm512_set1_epi16(0x0100 + 0x0202 * k));
      }
      MINKE_INLINE __m512i finish(__m512i total) const {
        return _mm512_sub_epi32(total, _mm512_srai_epi32(above, 3));  // 256 times scales to 32 times
      }
    };
    template <int r>
    MINKE_INLINE Row row(Index<r>) const {
      alignas(64) static constexpr auto kScales = in_high_bytes([](int sub) { return sub; });
      const __m128i bytes = load128(rows[r] + offset + 192);
      const __m512i scales = _mm512_shuffle_epi8(each_quarter(bytes), load512(kScales.data()));  // times 256
      return {_mm512_mulhi_epi16(scales, steps), _mm512_madd_epi16(scales, sums)};
    }
    MINKE_INLINE __m128 finish(const __m512i totals[4], __m128 out) const {
      __m128i d = _mm_setzero_si128();
      unroll<4>([&](auto r) MINKE_INLINED { d = _mm_insert_epi16(d, half_at(rows[r] + offset + 208), r); });
      const __m128 value = _mm_mul_ps(_mm_cvtph_ps(d), _mm_cvtepi32_ps(sums_of_4(totals)));
      return _mm_fmadd_ps(value, _mm_set1_ps(scale), out);
    }
  };
};

// out += one block of four rows, in the order of integer_values (tile_products.h).
template <typename F>
MINKE_INLINE __m128 add_wide_block(const uint8_t* const rows[4], int64_t offset, const QuantTile<1>& x,
                                   __m128 out) {
  const typename F::Rows four(rows, offset, x.token[0]);
  __m512i q[4], totals[4];
  F::columns(x, q);
  unroll<4>([&](auto r) MINKE_INLINED {
    const uint8_t* block = rows[r] + offset;
    const auto row = four.row(r);
    __m512i low[2] = {load512(block + F::kCodes), load512(block + F::kCodes + 64)};
    // Or GCC reads them for each use, mostly out of two lines.
    asm volatile("" : "+v"(low[0]), "+v"(low[1]));
    __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    unroll<4>([&](auto k) MINKE_INLINED {
      const __m512i products = _mm512_maddubs_epi16(F::template codes<k>(low[k / 2], block), q[k]);
      sums[k / 2] = add_pairs(sums[k / 2], products, row.template scales<k>());
    });
    totals[r] = row.finish(_mm512_add_epi32(sums[0], sums[1]));
    asm volatile("" : "+v"(totals[r]));
  });
  return four.finish(totals, out);
}

// The same for what rounding left over. A function of its own, or the compiler keeps codes for it in memory.
template <typename F>
__attribute__((noinline)) __m128 add_wide_rest(const uint8_t* const rows[4], int64_t offset,
                                               const QuantTile<1>& x, __m128 out) {
  return add_wide_block<F>(rows, offset, x, out);
}

template <typename F>
void gemv_wide(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool accumulate) {
  constexpr int kSoon = 4;                          // blocks
  const bool shares = kFollowsRows && is_short(w);  // Ahead says why
  const int64_t stride = shares ? F::kBytes : w.row_bytes;
  const auto* tiles = reinterpret_cast<const QuantTile<1>*>(x.data);
  const int blocks = blocks_of(x.cols);
  for (int r = 0; r < rows; r += 4) {
    const int left = std::min(4, rows - r);
    const uint8_t* at[4];
    row_pointers(w, first_row + r, left, 4, at);
    const std::byte *here = w.row(first_row + r), *next = here + 4 * w.row_bytes,
                    *far = kFollowsRows ? share_ahead<4, 12>(w, first_row + r, 0, F::kBytes)
                                        : share_ahead<4>(w, first_row + r, 0, F::kBytes);
    if (!far) far = here;
    const auto near_at = [&](int b) MINKE_INLINED {
      if (shares) return far + 4 * F::kBytes * int64_t{b};
      const int soon = b + kSoon;
      return soon < blocks ? here + F::kBytes * int64_t{soon} : next + F::kBytes * int64_t{soon - blocks};
    };
    __m128 sum = _mm_setzero_ps();
    for (int b = 0; b < blocks; ++b) {
      const int64_t offset = int64_t{b} * F::kBytes;
      if (!kFollowsRows)
        unroll<(4 * F::kBytes + 63) / 64>(
            [&](auto i) MINKE_INLINED { __builtin_prefetch(far + 4 * offset + 64 * i, 0, 2); });
      const std::byte* near = near_at(b);
      unroll<4>([&](auto i) MINKE_INLINED {
        unroll<(F::kBytes + 63) / 64>(
            [&](auto j) MINKE_INLINED { __builtin_prefetch(near + i * stride + 64 * j, 0, 3); });
      });
      sum = add_wide_block<F>(at, offset, tiles[b], sum);
      if (tiles[b].token[0].rest) sum = add_wide_rest<F>(at, offset, tiles[b + blocks], sum);
    }
    float result[4];
    _mm_storeu_ps(result, sum);
    for (int i = 0; i < left; ++i) out[r + i] = accumulate ? out[r + i] + result[i] : result[i];
  }
}

constexpr bool is_read_wide(Format format) { return format == Format::q5_k || format == Format::q6_k; }

// gemv for these formats; false for others.
MINKE_INLINE bool gemv_wide(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add) {
  switch (w.format) {
    case Format::q5_k: gemv_wide<WideQ5K>(w, first_row, rows, x, out, add); return true;
    case Format::q6_k: gemv_wide<WideQ6K>(w, first_row, rows, x, out, add); return true;
    default: return false;
  }
}

}  // namespace
}  // namespace minke
