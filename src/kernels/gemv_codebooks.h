#pragma once
// How single tokens read the formats with codebooks along a row, as row_products.h wants them. What an index
// is made of lies in two or three places of a block, so indices and signs of all 256 columns are worked out
// at once and written where single ones are read from. Signs turn the token's numbers, not the entries.

#include <bit>

#include "kernels/row_products.h"
#include "quant/iq_tables.h"

namespace minke {
namespace {

// Indices of four entries. Those of two bytes lie where they were just written: taken from there together,
// rows were up to 15 % faster. Single bytes lie in the block: taken together, 25 % slower.
MINKE_INLINE void four_indices(const uint8_t* p, uint64_t out[4]) {
  unroll<4>([&](auto i) MINKE_INLINED { out[i] = p[i]; });
}
MINKE_INLINE void four_indices(const uint16_t* p, uint64_t out[4]) {
  uint64_t all;
  std::memcpy(&all, p, 8);
  unroll<4>([&](auto i) MINKE_INLINED { out[i] = all >> 16 * i & 0xffff; });
}

// Entries of a codebook, as they follow each other in 32 columns.
template <typename Number>
MINKE_INLINE __m256i entries(const uint64_t* grid, const Number* index) {
  uint64_t at[4];
  four_indices(index, at);
  const auto two = [&](int i) MINKE_INLINED {
    const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(grid + at[i]));
    return _mm_castps_si128(
        _mm_loadh_pi(_mm_castsi128_ps(low), reinterpret_cast<const __m64*>(grid + at[i + 1])));
  };
  return _mm256_set_m128i(two(2), two(0));
}
template <typename Number>
MINKE_INLINE __m256i entries(const uint32_t* grid, const Number* index) {
  uint64_t at[8];
  four_indices(index, at);
  four_indices(index + 4, at + 4);
  const auto entry = [&](int i) MINKE_INLINED { return static_cast<int32_t>(grid[at[i]]); };
  return _mm256_setr_epi32(entry(0), entry(1), entry(2), entry(3), entry(4), entry(5), entry(6), entry(7));
}

// q, negative where the 32 bits at `signs` say so.
MINKE_INLINE __m256i turned(__m256i q, const void* signs) {
  uint32_t bits;
  std::memcpy(&bits, signs, 4);
#if defined(__AVX512BW__)
  return _mm256_mask_sub_epi8(q, bits, _mm256_setzero_si256(), q);
#else
  const __m256i negative = bytes_of_bits(bits);
  return _mm256_sub_epi8(_mm256_xor_si256(q, negative), negative);
#endif
}

// Seven signs in each byte with the eighth, which makes the number of negative ones even.
MINKE_INLINE __m256i with_eighths(__m256i seven) {
  __m256i odd = _mm256_xor_si256(seven, _mm256_srli_epi16(seven, 4));
  odd = _mm256_xor_si256(odd, _mm256_srli_epi16(odd, 2));
  odd = _mm256_xor_si256(odd, _mm256_srli_epi16(odd, 1));
  return _mm256_or_si256(seven, _mm256_slli_epi16(_mm256_and_si256(odd, _mm256_set1_epi8(1)), 7));
}

// The low bytes of both's 16-bit lanes, in order.
MINKE_INLINE __m256i low_bytes(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
}

// Lanes of 16 bits.
MINKE_INLINE __m256i in_turn(int a, int b, int c, int d) {
  const auto at = [](int n, int shift) { return static_cast<uint64_t>(n) << shift; };
  return _mm256_set1_epi64x(static_cast<int64_t>(at(a, 0) | at(b, 16) | at(c, 32) | at(d, 48)));
}
MINKE_INLINE __m256i odd_numbers(__m256i n) {  // 2 n + 1, in 16-bit lanes
  return _mm256_add_epi16(_mm256_slli_epi16(n, 1), _mm256_set1_epi16(1));
}

// 16 / lanes bytes at p, each in so many lanes of 16 bits.
template <int lanes>
MINKE_INLINE __m256i spread(const uint8_t* p) {
  static_assert(lanes == 2 || lanes == 4 || lanes == 8);
  int64_t bytes = 0;
  std::memcpy(&bytes, p, 16 / lanes);
  const __m256i lane = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  constexpr int kBits = std::countr_zero(static_cast<unsigned>(lanes));
  const __m256i which = _mm256_or_si256(_mm256_srli_epi16(lane, kBits), _mm256_set1_epi16(-32768));
  return _mm256_shuffle_epi8(_mm256_set1_epi64x(bytes), which);
}

// Four words at p, each in four lanes.
MINKE_INLINE __m256i each_four_times(const uint8_t* p) {
  int64_t words;
  std::memcpy(&words, p, 8);
  const __m256i which = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,  //
                                         4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
  return _mm256_shuffle_epi8(_mm256_set1_epi64x(words), which);
}

// Sixteen indices: a byte each at p, and what is above it.
MINKE_INLINE void put_indices(const uint8_t* p, __m256i high, uint16_t* out) {
  const __m256i index = _mm256_or_si256(_mm256_cvtepu8_epi16(load128(p)), high);
  _mm256_store_si256(reinterpret_cast<__m256i*>(out), index);
}

// Indices and signs have to be in memory, where the compiler would take each out of a register anew.
template <typename At>
MINKE_INLINE void written(At& at) {
  asm("" : "+m"(at));
}

// A format of whose blocks R is made ready before.
template <typename R>
struct PreparedRow : Row256 {
  using Ready = R;
  struct At {
    const uint8_t* p;  // the block
    const R& ready;
  };
  static MINKE_INLINE At at(const uint8_t* p, const R& ready) { return {p, ready}; }
};

struct Indices {
  alignas(32) uint16_t index[32];
};
struct IndicesAndSigns : Indices {
  alignas(32) uint32_t signs[8];
};
struct IndicesAndMoves : Indices {
  alignas(32) uint8_t above[32];  // of eight columns each: 9, or 7 where they move down
};

// What words hold: the signs of 32 columns in the lower bits, seven for eight of them; a scale in the highest
// four.
struct SignsAndScales {
  alignas(32) uint32_t signs[8];
  alignas(16) uint16_t scales[8];
  MINKE_INLINE void take(__m256i words) {
    const auto bits = [&](__m256i moved, int mask)
                          MINKE_INLINED { return _mm256_and_si256(moved, _mm256_set1_epi32(mask)); };
    const __m256i seven = _mm256_or_si256(_mm256_or_si256(bits(words, 0x7f),  //
                                                          bits(_mm256_slli_epi32(words, 1), 0x7f00)),
                                          _mm256_or_si256(bits(_mm256_slli_epi32(words, 2), 0x7f0000),
                                                          bits(_mm256_slli_epi32(words, 3), 0x7f000000)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(signs), with_eighths(seven));
    const __m256i four = _mm256_srli_epi32(words, 28);
    const __m256i in_order = _mm256_permute4x64_epi64(_mm256_packs_epi32(four, four), 0xd8);
    _mm_store_si128(reinterpret_cast<__m128i*>(scales), _mm256_castsi256_si128(odd_numbers(in_order)));
  }
};

// Scales of four bits in so many bytes at p.
MINKE_INLINE __m128i odd_nibbles(const uint8_t* p, size_t count) {
  int64_t all = 0;
  std::memcpy(&all, p, count);
  const __m128i bytes = _mm_cvtsi64_si128(all), low = _mm_set1_epi8(15);
  const __m128i four =
      _mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low));
  return _mm_add_epi8(_mm_add_epi8(four, four), _mm_set1_epi8(1));
}

struct RowIq2Xxs : PreparedRow<SignsAndScales> {
  static constexpr int kBytes = 66;
  static constexpr float kPower = 0.125f;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    // Four indices and a word in turn.
    const __m256 a = _mm256_castsi256_ps(load256(p + 2)), b = _mm256_castsi256_ps(load256(p + 34));
    ready.take(_mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8));
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) {
    return entries(kIq2XxsGrid.data(), at.p + 2 + 8 * i);
  }
  static MINKE_INLINE __m256i signed_columns(const At& at, int i, __m256i q) {
    return turned(q, at.ready.signs + i);
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return eight(load128(at.ready.scales), steps);
  }
};

struct RowIq2Xs : PreparedRow<IndicesAndSigns> {
  static constexpr int kBytes = 74;
  static constexpr float kPower = 0.125f;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    __m256i seven[2];
    unroll<2>([&](auto h) MINKE_INLINED {
      const __m256i words = load256(p + 2 + 32 * h);
      _mm256_store_si256(reinterpret_cast<__m256i*>(ready.index + 16 * h),
                         _mm256_and_si256(words, _mm256_set1_epi16(511)));
      seven[h] = _mm256_srli_epi16(words, 9);
    });
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.signs), with_eighths(low_bytes(seven[0], seven[1])));
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) {
    return entries(kIq2XsGrid.data(), at.ready.index + 4 * i);
  }
  static MINKE_INLINE __m256i signed_columns(const At& at, int i, __m256i q) {
    return turned(q, at.ready.signs + i);
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return sixteen(odd_nibbles(at.p + 66, 8), steps);
  }
};

struct RowIq2S : PreparedRow<Indices> {
  static constexpr int kBytes = 82;
  static constexpr float kPower = 0.125f;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    unroll<2>([&](auto h) MINKE_INLINED {
      const __m256i high = _mm256_mullo_epi16(spread<4>(p + 66 + 4 * h), in_turn(256, 64, 16, 4));
      put_indices(p + 2 + 16 * h, _mm256_and_si256(high, _mm256_set1_epi16(0x300)), ready.index + 16 * h);
    });
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) {
    return entries(kIq2SGrid.data(), at.ready.index + 4 * i);
  }
  static MINKE_INLINE __m256i signed_columns(const At& at, int i, __m256i q) {
    return turned(q, at.p + 34 + 4 * i);
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return sixteen(odd_nibbles(at.p + 74, 8), steps);
  }
};

// ---- entries of four columns

#if defined(__AVX512BW__)
// The values of a block, looked up 32 entries at a time: a third fewer instructions than entry by entry.
struct Iq3Codes {
  alignas(64) uint8_t code[kBlock];

  MINKE_INLINE __m256i codes(const std::array<uint32_t, 256>&, int i) const { return load256(code + 32 * i); }
  MINKE_INLINE __m256i codes(const std::array<uint32_t, 512>&, int i) const { return load256(code + 32 * i); }
  // index: a byte each. ninth: one more bit each, for codebooks of 512.
  template <size_t n>
  MINKE_INLINE void look_up(const std::array<uint16_t, n>& numbers, const std::array<uint8_t, 8>& values,
                            const uint8_t* index, const uint8_t* ninth) {
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values.data()));
    const __m512i value = _mm512_broadcast_i32x4(eight), low = _mm512_set1_epi8(7);
    // In each quarter, four of the first sixteen entries and four of the last.
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    unroll<2>([&](auto h) MINKE_INLINED {
      __m512i at = _mm512_cvtepu8_epi16(load256(index + 32 * h));
      if constexpr (n == 512) {
        uint32_t bits;
        std::memcpy(&bits, ninth + 4 * h, 4);
        at = _mm512_mask_add_epi16(at, bits, at, _mm512_set1_epi16(256));
      }
      const __m512i four = numbers_at(numbers, _mm512_permutexvar_epi64(order, at));
      const __m512i even = _mm512_and_si512(four, low),
                    odd = _mm512_and_si512(_mm512_srli_epi16(four, 4), low);
      uint8_t* to = code + 128 * h;
      _mm512_store_si512(to, _mm512_shuffle_epi8(value, _mm512_unpacklo_epi8(even, odd)));
      _mm512_store_si512(to + 64, _mm512_shuffle_epi8(value, _mm512_unpackhi_epi8(even, odd)));
    });
  }

 private:
  template <size_t n>
  static MINKE_INLINE __m512i numbers_at(const std::array<uint16_t, n>& numbers, __m512i at) {
    const auto of_64 = [&](int i) MINKE_INLINED {
      const uint16_t* p = numbers.data() + 64 * i;
      return _mm512_permutex2var_epi16(_mm512_loadu_si512(p), at, _mm512_loadu_si512(p + 32));
    };
    const auto where = [&](int bit) MINKE_INLINED {
      return _mm512_test_epi16_mask(at, _mm512_set1_epi16(static_cast<short>(bit)));
    };
    const __mmask32 second = where(64), last = where(128);
    const auto of_256 = [&](int i) MINKE_INLINED {
      const __m512i a = _mm512_mask_mov_epi16(of_64(i), second, of_64(i + 1));
      const __m512i b = _mm512_mask_mov_epi16(of_64(i + 2), second, of_64(i + 3));
      return _mm512_mask_mov_epi16(a, last, b);
    };
    if constexpr (n == 256)
      return of_256(0);
    else
      return _mm512_mask_mov_epi16(of_256(0), where(256), of_256(4));
  }
};
#else
struct Iq3Codes {
  alignas(32) uint16_t index[64];

  template <size_t n>
  MINKE_INLINE __m256i codes(const std::array<uint32_t, n>& grid, int i) const {
    return entries(grid.data(), index + 8 * i);
  }
  template <size_t n>
  MINKE_INLINE void look_up(const std::array<uint16_t, n>&, const std::array<uint8_t, 8>&, const uint8_t* low,
                            const uint8_t* ninth) {
    const __m256i bit = _mm256_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2, 256, 128, 64, 32, 16, 8, 4, 2);
    unroll<4>([&](auto h) MINKE_INLINED {
      __m256i high = _mm256_setzero_si256();
      if constexpr (n == 512)
        high = _mm256_and_si256(_mm256_mullo_epi16(spread<8>(ninth + 2 * h), bit), _mm256_set1_epi16(256));
      put_indices(low + 16 * h, high, index + 16 * h);
    });
  }
};
#endif

struct Iq3ColumnsAndSigns {
  Iq3Codes columns;
  SignsAndScales rest;
};
struct RowIq3Xxs : PreparedRow<Iq3ColumnsAndSigns> {
  static constexpr int kBytes = 98;
  static constexpr float kPower = 0.25f;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    ready.columns.look_up(kIq3XxsNumbers, kIq3XxsValues, p + 2, nullptr);
    ready.rest.take(load256(p + 66));
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) { return at.ready.columns.codes(kIq3XxsGrid, i); }
  static MINKE_INLINE __m256i signed_columns(const At& at, int i, __m256i q) {
    return turned(q, at.ready.rest.signs + i);
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return eight(load128(at.ready.rest.scales), steps);
  }
};

struct RowIq3S : PreparedRow<Iq3Codes> {
  static constexpr int kBytes = 110;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    ready.look_up(kIq3SNumbers, kIq3SValues, p + 2, p + 66);
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) { return at.ready.codes(kIq3SGrid, i); }
  static MINKE_INLINE __m256i signed_columns(const At& at, int i, __m256i q) {
    return turned(q, at.p + 74 + 4 * i);
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return eight(_mm_cvtepu8_epi16(odd_nibbles(at.p + 106, 4)), steps);
  }
};

// ---- values are 8 (-1, 0, 1) +- 1, entries 0, 1 and 2

struct RowIq1S : PreparedRow<Indices> {
  static constexpr int kBytes = 50, kOffset = 1;
  static constexpr float kPower = 0.125f;
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    unroll<2>([&](auto h) MINKE_INLINED {
      // The three bits of an index's top are at 0, 3, 6 and 9.
      const __m256i words = each_four_times(p + 34 + 8 * h);
      const __m256i high = _mm256_blend_epi16(_mm256_mullo_epi16(words, in_turn(256, 32, 4, 0)),
                                              _mm256_srli_epi16(words, 1), 0x88);
      put_indices(p + 2 + 16 * h, _mm256_and_si256(high, _mm256_set1_epi16(0x700)), ready.index + 16 * h);
    });
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) {
    return entries(kIq1Grid.data(), at.ready.index + 4 * i);
  }
  static MINKE_INLINE __m128i plain_scales(const At& at) {
    const __m128i three = _mm_and_si128(_mm_srli_epi16(load128(at.p + 34), 12), _mm_set1_epi16(7));
    return _mm_add_epi16(_mm_slli_epi16(three, 1), _mm_set1_epi16(1));
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    return eight(_mm_slli_epi16(plain_scales(at), 3), steps);
  }
  static MINKE_INLINE __m256i above(const At& at) {  // 8 for the entry, less what it moves up: -1 or 1
    const __m128i move = _mm_or_si128(_mm_srai_epi16(load128(at.p + 34), 15), _mm_set1_epi16(1));
    const __m128i each = _mm_mullo_epi16(plain_scales(at), _mm_sub_epi16(_mm_set1_epi16(8), move));
    return _mm256_set_m128i(_mm_unpackhi_epi16(each, each), _mm_unpacklo_epi16(each, each));
  }
};

// Moves are of eight columns, which the token has no sums of, so they are added to entries.
struct RowIq1M : PreparedRow<IndicesAndMoves> {
  static constexpr int kBytes = 56, kD = -1, kOffset = 16;
  static constexpr float kPower = 0.125f;
  static MINKE_INLINE uint16_t d(const uint8_t* p) {  // four bits in each of four words
    uint16_t w[4];
    std::memcpy(w, p + 48, sizeof w);
    return static_cast<uint16_t>(w[0] >> 12 | (w[1] >> 8 & 0xf0) | (w[2] >> 4 & 0xf00) | (w[3] & 0xf000));
  }
  static MINKE_INLINE void prepare(const uint8_t* p, Ready& ready) {
    __m256i above[2];
    unroll<2>([&](auto h) MINKE_INLINED {
      const __m256i four = _mm256_mullo_epi16(spread<2>(p + 32 + 8 * h), in_turn(256, 16, 256, 16));
      put_indices(p + 16 * h, _mm256_and_si256(four, _mm256_set1_epi16(0x700)), ready.index + 16 * h);
      const __m256i down = _mm256_and_si256(_mm256_srli_epi16(four, 10), _mm256_set1_epi16(2));
      above[h] = _mm256_sub_epi16(_mm256_set1_epi16(9), down);
    });
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.above), low_bytes(above[0], above[1]));
    written(ready);
  }
  static MINKE_INLINE __m256i codes(const At& at, int i) {
    int32_t four;
    std::memcpy(&four, at.ready.above + 4 * i, 4);
    const __m256i above = _mm256_shuffle_epi8(_mm256_set1_epi32(four), eighths());
    return _mm256_add_epi8(_mm256_slli_epi16(entries(kIq1Grid.data(), at.ready.index + 4 * i), 3), above);
  }
  static MINKE_INLINE __m256i plain_scales(const At& at) {  // three bits at 0, 3, 6 and 9
    const __m256i top =
        _mm256_mullo_epi16(each_four_times(at.p + 48), in_turn(1 << 13, 1 << 10, 1 << 7, 1 << 4));
    return odd_numbers(_mm256_srli_epi16(top, 13));
  }
  static MINKE_INLINE __m256i scales(const At& at, __m128i steps) {
    const __m256i each = plain_scales(at);
    return sixteen(_mm256_castsi256_si128(low_bytes(each, each)), steps);
  }
  static MINKE_INLINE __m256i above(const At& at) { return _mm256_slli_epi16(plain_scales(at), 4); }
};

// gemv for these formats; false for others.
MINKE_INLINE bool gemv_codebooks(const Mat& w, int first_row, int rows, const Operand& x, float* out,
                                 bool add) {
  switch (w.format) {
    case Format::iq1_s: gemv_integer<RowIq1S>(w, first_row, rows, x, out, add); return true;
    case Format::iq1_m: gemv_integer<RowIq1M>(w, first_row, rows, x, out, add); return true;
    case Format::iq2_xxs: gemv_integer<RowIq2Xxs>(w, first_row, rows, x, out, add); return true;
    case Format::iq2_xs: gemv_integer<RowIq2Xs>(w, first_row, rows, x, out, add); return true;
    case Format::iq2_s: gemv_integer<RowIq2S>(w, first_row, rows, x, out, add); return true;
    case Format::iq3_xxs: gemv_integer<RowIq3Xxs>(w, first_row, rows, x, out, add); return true;
    case Format::iq3_s: gemv_integer<RowIq3S>(w, first_row, rows, x, out, add); return true;
    default: return false;
  }
}

}  // namespace
}  // namespace minke
