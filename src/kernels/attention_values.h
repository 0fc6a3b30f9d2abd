#pragma once
// Weighted sums of values: sixteen columns in the lanes of a panel's words, the weights of a tile of queries
// beside them.

#include "kernels/attention_words.h"

namespace minke {
namespace {

// Columns [column, column + 16) of a value row as bits: of f32, or of a shorter format in the low bytes.
// Zeros past its end.
template <KvFormat format>
MINKE_INLINE Vi value_columns(const std::byte* row, int width, int column) {
  const int left = width - column;
  if constexpr (format == KvFormat::f32) {
    return as_int(load_first(reinterpret_cast<const float*>(row) + column, left));
  } else {
    constexpr int kBytes = kv_bytes(format);
    const auto widened = [](const void* p) MINKE_INLINED { return kBytes == 2 ? load_u16(p) : load_u8(p); };
    if (left >= 16) return widened(row + kBytes * column);
    std::byte last[16 * kBytes] = {};
    std::memcpy(last, row + kBytes * column, static_cast<size_t>(left) * kBytes);
    return widened(last);
  }
}

// Columns of `keys` keys from `first`, both multiples of 16, into panel[word][column].
template <KvFormat format>
MINKE_INLINE void value_panel(const KeyRows& rows, int first, int keys, int column, Words panel) {
  constexpr int kStep = format == KvFormat::int8 ? 4 : 2;
  const auto columns = [&](const std::byte* row, int of) MINKE_INLINED {
    return value_columns<format>(row + of * rows.row_bytes, rows.width, column);
  };
  for (int s = 0; s < keys;) {
    const int end = std::min(keys, s + kPageTokens - (first + s) % kPageTokens);  // rows of one page
    for (const std::byte* row = row_at(rows, first + s); s < end; s += kStep, row += kStep * rows.row_bytes) {
      if constexpr (format == KvFormat::f32) {
        store(panel[s], columns(row, 0));
        store(panel[s + 1], columns(row, 1));
      } else if constexpr (format == KvFormat::int8) {
        const Vi low = bit_or(columns(row, 0), shl<8>(columns(row, 1)));
        store(panel[s / 4], bit_or(low, shl<16>(bit_or(columns(row, 2), shl<8>(columns(row, 3))))));
      } else {
        const Vi two = bit_or(columns(row, 0), shl<16>(columns(row, 1)));
        put_pair<format>(format == KvFormat::fp8 ? fp8_pair(two) : two, s / 2, panel);
      }
    }
  }
}

// value_panel for 32 columns of bf16, `words` words apart: lines are met once.
MINKE_INLINE void value_panels(const KeyRows& rows, int first, int keys, int column, int words, Words panel) {
  for (int s = 0; s < keys;) {
    const int end = std::min(keys, s + kPageTokens - (first + s) % kPageTokens);  // rows of one page
    const std::byte* row = row_at(rows, first + s) + 2 * column;
    for (; s < end; s += 2, row += 2 * rows.row_bytes) {
      Vi pairs[2];
      pair_u16(row, row + rows.row_bytes, pairs);
      store(panel[s / 2], pairs[0]);
      store(panel[words + s / 2], pairs[1]);
    }
  }
}

// What a tile of queries adds to columns [column, column + 16 P) of its rows.
template <int T, int P>
struct Columns {
  float* out;
  int width, column;
  MINKE_INLINE float* at(int n) const { return out + n % T * width + column + 16 * (n / T); }
  MINKE_INLINE int left(int n) const { return width - column - 16 * (n / T); }
};

// out = out * factors + dots for the columns of P panels from `column`; dots(T, panel, query, totals) adds to
// kAtOnce<T, P> panels of a tile's queries.
template <int P, typename Dots>
MINKE_INLINE void scale_and_add(int queries, int width, int column, const float* factors, float* out,
                                const Dots& dots) {
  for_each_tile(0, queries, [&](auto T, int i) MINKE_INLINED {
    constexpr int kPanels = kAtOnce<T, P>;
    for (int p = 0; p < P; p += kPanels) {
      const Columns<T, kPanels> to{out + i * width, width, column + 16 * p};
      Vf total[kPanels][T];
      unroll<kPanels * T>([&](auto n) MINKE_INLINED {
        total[n / T][n % T] = mul(load_first(to.at(n), to.left(n)), set1(factors[i + n % T]));
      });
      dots(T, p, i, total);
      unroll<kPanels * T>([&](auto n)
                              MINKE_INLINED { store_first(to.at(n), total[n / T][n % T], to.left(n)); });
    }
  });
}

// out = out * factors + weights . values for the rows of `queries` queries. weights(i): words of query i.
// beside() is called for every tile of queries that meets a panel.
template <KvFormat format, int kLeast, typename Beside>
void add_values(const KeyRows& rows, int queries, int first, int keys, const float* factors,
                const float* weights, float* out, Words panel, const Beside& beside) {
  constexpr bool kTwo = kPairs<format> && format == KvFormat::bf16;
  constexpr int P = std::max(kLeast, kTwo ? 2 : 1);
  const int width = rows.width, words = words_of<format>(keys);
  for (int column = 0; column < width; column += 16 * P) {
    for (int p = 0; p < P && column + 16 * p < width; ++p) {
      if (kTwo && column + 16 * (p + 2) <= width && p + 2 <= P) {
        value_panels(rows, first, keys, column + 16 * p, words, panel + p * words);
        ++p;
      } else {
        value_panel<format>(rows, first, keys, column + 16 * p, panel + p * words);
      }
    }
    scale_and_add<P>(
        queries, width, column, factors, out, [&](auto T, int p, int i, auto& total) MINKE_INLINED {
          beside();
          add_dots<format, T, kAtOnce<T, P>>(
              panel + p * words, words, words,
              [&](int t, int k) MINKE_INLINED { return weights + (i + t) * kKeyChunk + k; }, total);
        });
  }
}

// Weights of a query times the values' scales as bytes, codes[key], each 64 keys under a unit of their own.
MINKE_INLINE void byte_weights(const float* weights, const float* scales, int keys, uint8_t* codes,
                               float* units) {
  for (int first = 0; first < keys; first += kPageTokens, ++units) {
    const int last = std::min(keys, first + kPageTokens);
    Vf top = zero_f();
    for (int s = first; s < last; s += 16) top = max(mul(load(weights + s), load(scales + s)), top);
    const float peak = largest(top);
    *units = peak > 0x1p-100f ? peak * (1.0f / 255.0f) : 0.0f;
    const Vf inverse = set1(*units > 0.0f ? 1.0f / *units : 0.0f);
    for (int s = first; s < last; s += 16)
      store_i8(reinterpret_cast<int8_t*>(codes) + s,
               to_int(mul(mul(load(weights + s), load(scales + s)), inverse)));
  }
}

// total[p][t] += weights of T queries times the values of panel p: integers over the keys of a page, then
// f32.
template <int T, int P>
MINKE_INLINE void add_byte_dots(const int32_t (*panel)[16], int words, const uint8_t* codes,
                                const float* units, Vf total[P][T]) {
  constexpr int kWords = kPageTokens / 4;
  for (int first = 0; first < words; first += kWords, ++units) {
    const int last = std::min(words, first + kWords);
    Vi sums[P][T];
    unroll<P * T>([&](auto n) MINKE_INLINED { sums[n / T][n % T] = zero_i(); });
    for (int k = first; k < last; ++k)
      unroll<P>([&](auto p) MINKE_INLINED {
        const Vi values = load(panel[p * words + k]);
        unroll<T>([&](auto t) MINKE_INLINED {
          sums[p][t] = dot8(sums[p][t], broadcast4(codes + t * kKeyChunk + 4 * k), values);
        });
      });
    unroll<P * T>([&](auto n) MINKE_INLINED {
      const Vf unit = set1(units[n % T * (kKeyChunk / kPageTokens)]);
      total[n / T][n % T] = fma(to_float(sums[n / T][n % T]), unit, total[n / T][n % T]);
    });
  }
}

// add_values over int8. scales [256], codes [queries][256].
template <int P, typename Beside>
void add_byte_values(const KeyRows& rows, int queries, int first, int keys, const float* factors,
                     const float* weights, float* out, Words panel, float* scales, uint8_t* codes,
                     const Beside& beside) {
  static_assert(kKvGroup % (16 * P) == 0);
  constexpr int kPages = kKeyChunk / kPageTokens;
  const int width = rows.width, words = keys / 4;
  float units[kMaxQueries][kPages];
  for (int column = 0; column < width; column += 16 * P) {
    if (column % kKvGroup == 0) {
      for (int s = 0; s < keys; s += 16) store(scales + s, row_scales(rows, first + s, column / kKvGroup));
      for (int i = 0; i < queries; ++i)
        byte_weights(weights + i * kKeyChunk, scales, keys, codes + i * kKeyChunk, units[i]);
    }
    for (int p = 0; p < P && column + 16 * p < width; ++p)
      value_panel<KvFormat::int8>(rows, first, keys, column + 16 * p, panel + p * words);
    scale_and_add<P>(
        queries, width, column, factors, out, [&](auto T, int p, int i, auto& total) MINKE_INLINED {
          beside();
          add_byte_dots<T, kAtOnce<T, P>>(panel + p * words, words, codes + i * kKeyChunk, units[i], total);
        });
  }
}

}  // namespace
}  // namespace minke
