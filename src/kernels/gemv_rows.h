#pragma once
// How gemv reads each integer format along a row, in AVX2: one struct a format. Byte layouts: quant/blocks.h
// and MODEL.md 4.1; offsets and signs as in unpack.h.
//
//   kBytes          of 32 columns under an f32 scale
//   kOffset, kMin   what codes are above values; whether a minimum is added
//   kSigned         codes are signed values
//   codes           32 columns in order
//   scale           of 32 columns, of eight rows at at[r] + offset
//
// Those of 256 columns: row_products.h.

#include "kernels/row_products.h"

namespace minke {
namespace {

MINKE_INLINE __m256i nibbles_of(const uint8_t* p) {  // 16 bytes: low nibbles, then high ones
  const __m128i bytes = load128(p);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

MINKE_INLINE __m256i looked_up(__m256i nibbles, const int8_t* table) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(table)), nibbles);
}

// The f16 at `offset` of eight rows.
MINKE_INLINE __m256 halves(const uint8_t* const at[8], int64_t offset) {
  alignas(16) uint16_t h[8];
  unroll<8>([&](auto r) MINKE_INLINED { std::memcpy(&h[r], at[r] + offset, 2); });
  return _mm256_cvtph_ps(load128(h));
}

// Bit c of the 32 at p as 16 in byte c.
MINKE_INLINE __m256i fifth_bits(const uint8_t* p) {
  uint32_t bits;
  std::memcpy(&bits, p, 4);
  return _mm256_and_si256(bytes_of_bits(bits), _mm256_set1_epi8(16));
}

struct Row32 {
  static constexpr int kOffset = 0;
  static constexpr bool kMin = false, kSigned = false;
  static MINKE_INLINE __m256 scale(const uint8_t* const at[8], int64_t offset) { return halves(at, offset); }
};
struct RowQ4_0 : Row32 {
  static constexpr int kBytes = 18, kOffset = 8;
  static MINKE_INLINE __m256i codes(const uint8_t* p) { return nibbles_of(p + 2); }
};
struct RowQ4_1 : Row32 {
  static constexpr int kBytes = 20;
  static constexpr bool kMin = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p) { return nibbles_of(p + 4); }
};
struct RowQ5_0 : Row32 {
  static constexpr int kBytes = 22, kOffset = 16;
  static MINKE_INLINE __m256i codes(const uint8_t* p) {
    return _mm256_or_si256(nibbles_of(p + 6), fifth_bits(p + 2));
  }
};
struct RowQ5_1 : Row32 {
  static constexpr int kBytes = 24;
  static constexpr bool kMin = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p) {
    return _mm256_or_si256(nibbles_of(p + 8), fifth_bits(p + 4));
  }
};
struct RowQ8_0 : Row32 {
  static constexpr int kBytes = 34;
  static constexpr bool kSigned = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p) { return load256(p + 2); }
};

alignas(16) constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
struct RowIq4Nl : Row32 {
  static constexpr int kBytes = 18;
  static constexpr bool kSigned = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p) { return looked_up(nibbles_of(p + 2), kIq4Values); }
};

alignas(16) constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
struct RowMxfp4 : Row32 {
  static constexpr int kBytes = 17;
  static constexpr bool kSigned = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p) { return looked_up(nibbles_of(p + 1), kMxfp4Values); }
  static MINKE_INLINE __m256 scale(const uint8_t* const at[8], int64_t offset) {
    alignas(32) uint32_t power[8];  // 2^(e - 128); the two least exponents are f32 subnormals
    unroll<8>([&](auto r) MINKE_INLINED {
      const uint32_t e = at[r][offset];
      power[r] = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    });
    return _mm256_castsi256_ps(load256(power));
  }
};

// ---- 256 columns

// The twelve bytes of Q4_K and Q5_K: eight scales, eight minima of six bits, as bytes of one word each.
struct SixBits {
  uint64_t scales, mins;
  explicit MINKE_INLINE SixBits(const uint8_t* p) {
    uint32_t a, b, c;
    std::memcpy(&a, p, 4);
    std::memcpy(&b, p + 4, 4);
    std::memcpy(&c, p + 8, 4);
    const uint64_t high_scales = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
    const uint64_t high_mins = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
    scales = (a & 0x3f3f3f3fu) | high_scales << 32;
    mins = (b & 0x3f3f3f3fu) | high_mins << 32;
  }
};
MINKE_INLINE __m128i as_16_bits(uint64_t bytes) {
  return _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
}

struct RowQ4K : Row256 {
  static constexpr int kBytes = 144, kD = 0, kDmin = 2;
  static constexpr bool kMin = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    return _mm256_and_si256(_mm256_srli_epi16(load256(p + 16 + 32 * (i / 2)), 4 * (i % 2)),
                            _mm256_set1_epi8(15));
  }
  static MINKE_INLINE __m256i scales(const uint8_t* p, __m128i steps) {
    return eight(as_16_bits(SixBits(p + 4).scales), steps);
  }
  static MINKE_INLINE __m256i mins(const uint8_t* p, const QuantTile<1>& x) {
    return _mm256_zextsi128_si256(
        _mm_madd_epi16(as_16_bits(SixBits(p + 4).mins), load128(x.token[0].steps_sum)));
  }
};
struct RowQ5K : RowQ4K {
  static constexpr int kBytes = 176;
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    const __m256i low = RowQ4K::codes(p + 32, i);
    const __m256i bit = _mm256_and_si256(_mm256_srli_epi16(load256(p + 16), i), _mm256_set1_epi8(1));
    return _mm256_or_si256(low, _mm256_slli_epi16(bit, 4));
  }
};
struct RowIq4Xs : Row256 {
  static constexpr int kBytes = 136, kD = 0;
  static constexpr bool kSigned = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    return looked_up(nibbles_of(p + 8 + 16 * i), kIq4Values);
  }
  static MINKE_INLINE __m256i scales(const uint8_t* p, __m128i steps) {
    uint16_t high;
    uint32_t low;
    std::memcpy(&high, p + 2, 2);
    std::memcpy(&low, p + 4, 4);
    alignas(16) int16_t scale[8];
    unroll<8>([&](auto i) MINKE_INLINED {
      scale[i] = static_cast<int16_t>(
          static_cast<int>((low >> 4 * i & 15) | (uint32_t{high} >> 2 * i & 3) << 4) - 32);
    });
    return eight(load128(scale), steps);
  }
};

struct RowQ6K : Row256 {
  static constexpr int kBytes = 210, kD = 208, kOffset = 32;
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    const int h = i / 4, g = i % 4;
    const __m256i low = _mm256_srli_epi16(load256(p + 64 * h + 32 * (g % 2)), 4 * (g / 2));
    const __m256i high =
        _mm256_and_si256(_mm256_srli_epi16(load256(p + 128 + 32 * h), 2 * g), _mm256_set1_epi8(3));
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), _mm256_slli_epi16(high, 4));
  }
  static MINKE_INLINE __m256i scales(const uint8_t* p, __m128i steps) {
    return sixteen(load128(p + 192), steps);
  }
  static MINKE_INLINE __m256i above(const uint8_t* p) { return times_offset<RowQ6K>(load128(p + 192)); }
};
struct RowQ3K : Row256 {
  static constexpr int kBytes = 110, kD = 108, kOffset = 4;
  static MINKE_INLINE __m128i bytes(const uint8_t* p) {  // of the sixteen scales
    uint32_t a, b, c;
    std::memcpy(&a, p + 96, 4);
    std::memcpy(&b, p + 100, 4);
    std::memcpy(&c, p + 104, 4);
    const auto word = [&](uint32_t low, int j) {
      return static_cast<int32_t>((low & 0x0f0f0f0fu) | (c >> 2 * j & 0x03030303u) << 4);
    };
    return _mm_sub_epi8(_mm_setr_epi32(word(a, 0), word(b, 1), word(a >> 4, 2), word(b >> 4, 3)),
                        _mm_set1_epi8(32));
  }
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    const __m256i two = _mm256_srli_epi16(load256(p + 32 + 32 * (i / 4)), 2 * (i % 4));
    const __m256i third = _mm256_and_si256(_mm256_srli_epi16(load256(p), i), _mm256_set1_epi8(1));
    return _mm256_or_si256(_mm256_and_si256(two, _mm256_set1_epi8(3)), _mm256_slli_epi16(third, 2));
  }
  static MINKE_INLINE __m256i scales(const uint8_t* p, __m128i steps) { return sixteen(bytes(p), steps); }
  static MINKE_INLINE __m256i above(const uint8_t* p) { return times_offset<RowQ3K>(bytes(p)); }
};
struct RowQ2K : Row256 {
  static constexpr int kBytes = 84, kD = 80, kDmin = 82;
  static constexpr bool kMin = true;
  static MINKE_INLINE __m256i codes(const uint8_t* p, int i) {
    return _mm256_and_si256(_mm256_srli_epi16(load256(p + 16 + 32 * (i / 4)), 2 * (i % 4)),
                            _mm256_set1_epi8(3));
  }
  static MINKE_INLINE __m256i scales(const uint8_t* p, __m128i steps) {
    return sixteen(_mm_and_si128(load128(p), _mm_set1_epi8(15)), steps);
  }
  static MINKE_INLINE __m256i mins(const uint8_t* p, const QuantTile<1>& x) {
    const __m128i m = _mm_and_si128(_mm_srli_epi16(load128(p), 4), _mm_set1_epi8(15));
    return _mm256_madd_epi16(_mm256_cvtepi8_epi16(m), load256(x.token[0].steps_sum16));
  }
};

}  // namespace
}  // namespace minke
