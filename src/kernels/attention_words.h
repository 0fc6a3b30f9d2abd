#pragma once
// How cached numbers lie in the words that attention multiplies. Keys and queries, and weights and values,
// are multiplied in words
//
//   of two bf16    over bf16 and fp8 (whose numbers are bf16 as well), where such pairs can be multiplied
//   of one f32     over f32; over the same rounded numbers where they cannot
//   of four bytes  over int8
//
// Sums of the first two run pair by pair in ascending order, the odd one of a pair first: the order of the
// instruction that adds two products of bf16 at once. fp8 has the numbers of each four in the order 0, 2,
// 1, 3.

#include <algorithm>
#include <cstring>

#include "kernels/attention.h"
#include "kernels/simd.h"

namespace minke {
namespace {

using Words = int32_t (*)[16];

// Panels that a full tile of queries meets at once. A second one takes the words of queries as read for the
// first, where there are registers for its sums; pairs of bf16 take longer than their reading.
constexpr int kPanelsAtOnce = kTokenTile < 8 || kBf16Dots ? 1 : 2;

// Of P panels, how many a tile of T queries meets at once.
template <int T, int P>
constexpr int kAtOnce = std::min(P, std::max(kPanelsAtOnce, kTokenTile / T));

template <KvFormat format>
constexpr bool kPairs = kBf16Dots && (format == KvFormat::bf16 || format == KvFormat::fp8);

// Words of `numbers` numbers, whole ones of all that is read at once.
template <KvFormat format>
constexpr int words_of(int numbers) {
  if (format == KvFormat::int8) return (numbers + 3) / 4;
  const int pairs = format == KvFormat::fp8 ? (numbers + 3) / 4 * 2 : (numbers + 1) / 2;
  return kPairs<format> ? pairs : 2 * pairs;
}

// To nearest even; the bits in the low half.
MINKE_INLINE Vi rounded_bf16(Vf x) {
  const Vi bits = as_int(x);
  return shr<16>(add(bits, add(bit_and(shr<16>(bits), set1(1)), set1(0x7fff))));
}

// Two codes of fp8, in the low bytes of the halves of each lane, as two bf16.
MINKE_INLINE Vi fp8_pair(Vi codes) {
  const Vi sign = shl<8>(bit_and(codes, set1(0x00800080)));
  return bit_or(sign, add(shl<4>(bit_and(codes, set1(0x007f007f))), set1(0x3c003c00)));  // exponent + 120
}

template <KvFormat format>
MINKE_INLINE void put_pair(Vi two, int pair, Words panel) {
  if constexpr (kPairs<format>) {
    store(panel[pair], two);
  } else {
    store(panel[2 * pair], shl<16>(two));
    store(panel[2 * pair + 1], shl<16>(shr<16>(two)));
  }
}

MINKE_INLINE const std::byte* row_at(const KeyRows& rows, int s) {
  const int64_t page = rows.pages ? rows.pages[s / kPageTokens] : s / kPageTokens;
  return rows.base + (page * kPageTokens + s % kPageTokens) * rows.row_bytes + rows.offset;
}

// Scale g of the 16 rows from s, a multiple of 16.
MINKE_INLINE Vf row_scales(const KeyRows& rows, int s, int g) {
  const Vi two = column_u32(Strided{row_at(rows, s) - rows.offset + rows.scales, rows.row_bytes}, g / 2 * 4);
  return as_float(g % 2 == 0 ? shl<16>(two) : shl<16>(shr<16>(two)));
}

// acc[p][t] += panel p . words of T queries: query(t, k) is word k of query t. Panels lie `stride` words
// apart.
template <KvFormat format, int T, int P, typename Query>
MINKE_INLINE void add_dots(const int32_t (*panel)[16], int stride, int words, const Query& query,
                           Vf acc[P][T]) {
  if constexpr (kPairs<format>) {
    for (int k = 0; k < words; ++k) {
      unroll<P>([&](auto p) MINKE_INLINED {
        const Vi two = load(panel[p * stride + k]);
        unroll<T>([&](auto t)
                      MINKE_INLINED { acc[p][t] = dot_bf16(acc[p][t], two, broadcast4(query(t, k))); });
      });
    }
  } else {
    for (int k = 0; k < words; k += 2) {
      Vf even[P], odd[P];
      unroll<P>([&](auto p) MINKE_INLINED {
        even[p] = as_float(load(panel[p * stride + k]));
        odd[p] = as_float(load(panel[p * stride + k + 1]));
      });
      unroll<T>([&](auto t) MINKE_INLINED {
        Vi first = broadcast4(query(t, k + 1)), second = broadcast4(query(t, k));
        if constexpr (kPanelsAtOnce > 1) {  // read once, and not into the register of a sum
          opaque(first);
          opaque(second);
        }
        unroll<P>([&](auto p) MINKE_INLINED {
          acc[p][t] = fma(odd[p], as_float(first), acc[p][t]);
          acc[p][t] = fma(even[p], as_float(second), acc[p][t]);
        });
      });
    }
  }
}

}  // namespace
}  // namespace minke
