#pragma once
// Scores: sixteen keys in the lanes of a panel's words and a tile of queries beside them, or sixteen queries
// in the lanes and keys as they lie.

#include "kernels/attention_ahead.h"
#include "kernels/attention_words.h"

namespace minke {
namespace {

// Rows of a panel of keys: words, then scales.
template <KvFormat format>
constexpr int key_panel_rows(int width) {
  return words_of<format>(width) + kv_scales(format, width);
}

// Words of a query in its tile. int8: codes, then of each group the scale and what the keys' codes, being 128
// too large, add to its dot.
template <KvFormat format>
constexpr int query_words(int width) {
  return words_of<format>(width) + (format == KvFormat::int8 ? 2 * kv_scales(format, width) : 0);
}

// Sixteen numbers (fewer at the end of a row, then zeros) of query t, from column c, into its tile of T.
template <KvFormat format>
MINKE_INLINE void put_query(Vf x, int c, int numbers, int t, int T, int32_t* out) {
  alignas(64) int32_t bits[16];
  store(bits, format == KvFormat::f32 ? as_int(x) : shl<16>(rounded_bf16(x)));
  if constexpr (format == KvFormat::fp8)
    for (int i = 0; i < 16; i += 4) std::swap(bits[i + 1], bits[i + 2]);
  const int words = words_of<format>(numbers);
  if constexpr (kPairs<format>) {
    for (int k = 0; k < words; ++k)
      out[(c / 2 + k) * T + t] =
          static_cast<int32_t>((static_cast<uint32_t>(bits[2 * k]) >> 16) | bits[2 * k + 1]);
  } else {
    for (int k = 0; k < words; ++k) out[(c + k) * T + t] = bits[k];
  }
}

// A group of at most kKvGroup numbers of query t, rounded to int8.
MINKE_INLINE void put_byte_query(const float* x, int group, int numbers, int groups, int words, int t, int T,
                                 int32_t* out) {
  Vf top = zero_f();
  for (int i = 0; i < numbers; i += 16) top = max(abs(load_first(x + i, numbers - i)), top);
  const float scale = largest(top) * (1.0f / 127.0f);
  const Vf inverse = set1(scale > 0x1p-100f ? 1.0f / scale : 0.0f);
  alignas(64) int8_t codes[kKvGroup + 16];
  int32_t total = 0;
  for (int i = 0; i < numbers; i += 16) {
    const Vi code = to_int(mul(load_first(x + i, numbers - i), inverse));
    store_i8(codes + i, code);
    total += sum(code);
  }
  for (int k = 0; k < (numbers + 3) / 4; ++k)
    std::memcpy(out + (group * (kKvGroup / 4) + k) * T + t, codes + 4 * k, 4);
  std::memcpy(out + (words + group) * T + t, &scale, 4);
  out[(words + groups + group) * T + t] = kSignedCodes ? 0 : -128 * total;
}

// row(i): query i of `count`. Out come tiles of kMost queries and fewer, query_words(width) words each, word
// by word.
template <KvFormat format, int kMost = kTokenTile, typename Row>
MINKE_INLINE void put_queries(int width, int count, int32_t* out, const Row& row) {
  for_each_tile<kMost>(0, count, [&](auto T, int i) MINKE_INLINED {
    int32_t* tile = out + i * query_words<format>(width);
    for (int t = 0; t < T; ++t) {
      const float* x = row(i + t);
      if constexpr (format == KvFormat::int8) {
        const int groups = kv_scales(format, width), words = words_of<format>(width);
        for (int g = 0; g < groups; ++g)
          put_byte_query(x + g * kKvGroup, g, std::min(kKvGroup, width - g * kKvGroup), groups, words, t, T,
                         tile);
      } else {
        for (int c = 0; c < width; c += 16)
          put_query<format>(load_first(x + c, width - c), c, std::min(16, width - c), t, T, tile);
      }
    }
  });
}

// The numbers in 16 bytes of 16 rows, of which the first is `column`.
template <KvFormat format>
MINKE_INLINE void put_columns(const Vi bytes[4], int column, Words panel) {
  unroll<4>([&](auto j) MINKE_INLINED {
    if constexpr (format == KvFormat::f32) {
      store(panel[column + j], bytes[j]);
    } else if constexpr (format == KvFormat::bf16) {
      put_pair<format>(bytes[j], column / 2 + j, panel);
    } else if constexpr (format == KvFormat::fp8) {
      put_pair<format>(fp8_pair(bytes[j]), column / 2 + 2 * j, panel);
      put_pair<format>(fp8_pair(shr<8>(bytes[j])), column / 2 + 2 * j + 1, panel);
    } else {
      store(panel[column / 4 + j],
            kSignedCodes ? bytes[j] : bit_xor(bytes[j], set1(static_cast<int>(0x80808080))));
    }
  });
}

// The 16 rows from s, a multiple of 16. Reads whole 16 bytes only inside the rows.
template <KvFormat format>
void key_panel(const KeyRows& rows, int s, Words panel) {
  constexpr int kBytes = kv_bytes(format), kPerLoad = 16 / kBytes;
  const std::byte* base = row_at(rows, s);
  int c = 0;
  Vi w[4];
  for (; c + kPerLoad <= rows.width; c += kPerLoad) {
    transpose4(Strided{base, rows.row_bytes}, c * kBytes, w);
    put_columns<format>(w, c, panel);
  }
  if (c < rows.width) {
    alignas(64) std::byte rest[16 * 16] = {};
    for (int r = 0; r < 16; ++r)
      std::memcpy(rest + 16 * r, base + r * rows.row_bytes + c * kBytes,
                  static_cast<size_t>((rows.width - c) * kBytes));
    transpose4(Strided{rest, 16}, 0, w);
    put_columns<format>(w, c, panel);
  }
  for (int g = 0; g < kv_scales(format, rows.width); ++g)
    store(panel[words_of<format>(rows.width) + g], as_int(row_scales(rows, s, g)));
}

// scores[p][t] = keys of panel p . query t of a tile.
template <KvFormat format, int T, int P>
MINKE_INLINE void key_scores(const int32_t (*panel)[16], const int32_t* tile, int width, Vf scores[P][T]) {
  const int words = words_of<format>(width), stride = key_panel_rows<format>(width);
  unroll<P * T>([&](auto n) MINKE_INLINED { scores[n / T][n % T] = zero_f(); });
  if constexpr (format != KvFormat::int8) {
    add_dots<format, T, P>(
        panel, stride, words, [&](int t, int k) MINKE_INLINED { return tile + k * T + t; }, scores);
    if constexpr (format == KvFormat::fp8)
      unroll<P * T>([&](auto n) MINKE_INLINED {
        scores[n / T][n % T] = mul(scores[n / T][n % T], as_float(load(panel[n / T * stride + words])));
      });
  } else {  // integers within a group, then f32
    const int groups = kv_scales(format, width);
    for (int g = 0; g < groups; ++g) {
      const int32_t *scales = tile + (words + g) * T, *offsets = scales + groups * T;
      Vi sums[P][T];
      unroll<P * T>([&](auto n) MINKE_INLINED { sums[n / T][n % T] = broadcast4(offsets + n % T); });
      const int first = g * (kKvGroup / 4), last = std::min(words, first + kKvGroup / 4);
      for (int k = first; k < last; ++k)
        unroll<P>([&](auto p) MINKE_INLINED {
          const Vi codes = load(panel[p * stride + k]);
          unroll<T>([&](auto t)
                        MINKE_INLINED { sums[p][t] = dot_wide_at(sums[p][t], codes, tile + k * T + t); });
        });
      unroll<P * T>([&](auto n) MINKE_INLINED {
        const Vf scaled =
            mul(to_float(sums[n / T][n % T]), as_float(load(panel[n / T * stride + words + g])));
        scores[n / T][n % T] = fma(scaled, as_float(broadcast4(scales + n % T)), scores[n / T][n % T]);
      });
    }
  }
}

// Whether keys are met as they lie: with few queries for each of them, sixteen keys of many numbers are not
// worth a panel.
template <KvFormat format>
constexpr bool kRowsAsTheyLie = kPairs<format> && format == KvFormat::bf16;
template <KvFormat format>
constexpr bool rows_as_they_lie(int queries, int width) {
  return kRowsAsTheyLie<format> && queries % 16 == 0 && width % 2 == 0;
}

// scores[query][key] of the 16 keys from s for 16 queries, whose words are the lanes of `panel`.
template <KvFormat format>
MINKE_INLINE void row_scores(const KeyRows& rows, int s, const int32_t* panel, float* scores,
                             Ahead<format>& ahead) {
  const int64_t bytes = rows.row_bytes;
  const std::byte* fours[4];  // so that four addresses and their index do
  for (int f = 0; f < 4; ++f) fours[f] = row_at(rows, s) + 4 * f * bytes;
  Vf dots[16];
  unroll<16>([&](auto r) MINKE_INLINED { dots[r] = zero_f(); });
  for (int k = 0; k < rows.width / 2; ++k) {
    if (k % 2 == 0) ahead.ask_line();
    const Vi two = load(panel + 16 * k);
    unroll<16>([&](auto r) MINKE_INLINED {
      dots[r] = dot_bf16(dots[r], two, broadcast4(fours[r / 4] + r % 4 * bytes + 4 * k));
    });
  }
  alignas(64) float by_key[16][16];
  unroll<16>([&](auto r) MINKE_INLINED { store(by_key[r], dots[r]); });
  for (int q = 0; q < 16; q += 4) {
    Vi four[4];
    transpose4(Strided{reinterpret_cast<const std::byte*>(by_key), sizeof by_key[0]}, 4 * q, four);
    unroll<4>([&](auto j) MINKE_INLINED { store(scores + (q + j) * kKeyChunk, as_float(four[j])); });
  }
}

}  // namespace
}  // namespace minke
