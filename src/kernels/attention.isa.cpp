// Attention over cached rows, sixteen keys (or sixteen value columns) in the lanes and a register tile of
// queries beside them. Every sum over columns and over keys runs pair by pair in ascending order, the odd one
// of a pair first: the order of the instruction that adds two products of bf16 at once. Where the cache is
// bf16, queries and weights are rounded to it too; an instruction set without that instruction multiplies the
// same numbers in f32.

#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/exp.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

const std::byte* row_at(const KeyRows& rows, int s) {
  const int64_t page = rows.pages ? rows.pages[s / kPageTokens] : s / kPageTokens;
  return rows.base + (page * kPageTokens + s % kPageTokens) * rows.row_bytes + rows.offset;
}

// How numbers lie in panels and beside them: in words of two bf16, or one by one in f32.
enum class Form { pairs, single };
template <Form form>
using Constant = std::integral_constant<Form, form>;

// f(Constant<form>) for the form that a cache is multiplied in.
template <typename F>
MINKE_INLINE void with_form(bool bf16, const F& f) {
  if constexpr (kBf16Dots)
    if (bf16) return f(Constant<Form::pairs>{});
  f(Constant<Form::single>{});
}

constexpr int words_of(Form form, int numbers) {
  const int pairs = (numbers + 1) / 2;
  return form == Form::pairs ? pairs : 2 * pairs;
}

using Words = int32_t (*)[16];

// Of P panels, how many a tile of T queries meets at once.
template <int T, int P>
constexpr int kAtOnce = std::min(P, std::max(1, kTokenTile / T));

// acc[p][t] += panel p . words of T queries: query(t, k) is word k of query t. Panels lie `words` apart.
template <Form form, int T, int P, typename Query>
MINKE_INLINE void add_dots(const int32_t (*panel)[16], int words, const Query& query, Vf acc[P][T]) {
  if constexpr (form == Form::pairs) {
    for (int k = 0; k < words; ++k) {
      unroll<P>([&](auto p) MINKE_INLINED {
        const Vi two = load(panel[p * words + k]);
        unroll<T>([&](auto t)
                      MINKE_INLINED { acc[p][t] = dot_bf16(acc[p][t], two, broadcast4(query(t, k))); });
      });
    }
  } else {
    for (int k = 0; k < words; k += 2) {
      unroll<P>([&](auto p) MINKE_INLINED {
        const Vf even = as_float(load(panel[p * words + k])), odd = as_float(load(panel[p * words + k + 1]));
        unroll<T>([&](auto t) MINKE_INLINED {
          acc[p][t] = fma(odd, as_float(broadcast4(query(t, k + 1))), acc[p][t]);
          acc[p][t] = fma(even, as_float(broadcast4(query(t, k))), acc[p][t]);
        });
      });
    }
  }
}

MINKE_INLINE Vi rounded_bf16(Vf x) {
  const Vi bits = as_int(x);
  return shr<16>(add(bits, add(bit_and(shr<16>(bits), set1(1)), set1(0x7fff))));
}

// Words of rows [first, first + T) of queries: out[word][T].
template <int T>
void interleave(Form form, bool round, const float* const rows[T], int width, int32_t* out) {
  for (int t = 0; t < T; ++t) {
    for (int c = 0; c < width; c += 16) {
      const int here = std::min(16, width - c);
      const Vf x = load_first(rows[t] + c, here);
      alignas(64) int32_t bits[16];
      store(bits, round ? shl<16>(rounded_bf16(x)) : as_int(x));
      if (form == Form::pairs) {
        for (int i = 0; i < here; i += 2)
          out[(c + i) / 2 * T + t] =
              static_cast<int32_t>((static_cast<uint32_t>(bits[i]) >> 16) | bits[i + 1]);
      } else {
        for (int i = 0; i < (here + 1) / 2 * 2; ++i) out[(c + i) * T + t] = bits[i];
      }
    }
  }
}

// Sixteen rows from `base` into panel[word][row]. Reads whole 16 bytes only inside the row.
template <Form form>
void key_panel(const std::byte* base, const KeyRows& rows, Words panel) {
  const int bytes = static_cast<int>(kv_bytes(rows.format)), per_load = 16 / bytes;
  const auto put = [&](int column, const Vi w[4]) MINKE_INLINED {
    unroll<4>([&](auto j) MINKE_INLINED {
      if (form == Form::pairs) {
        store(panel[column / 2 + j], w[j]);
      } else if (rows.format == KvFormat::f32) {
        store(panel[column + j], w[j]);
      } else {
        store(panel[column + 2 * j], shl<16>(w[j]));
        store(panel[column + 2 * j + 1], shl<16>(shr<16>(w[j])));
      }
    });
  };
  int c = 0;
  Vi w[4];
  for (; c + per_load <= rows.width; c += per_load) {
    transpose4(base + c * bytes, rows.row_bytes, w);
    put(c, w);
  }
  if (c == rows.width) return;
  alignas(64) std::byte rest[16 * 16] = {};
  for (int r = 0; r < 16; ++r)
    std::memcpy(rest + 16 * r, base + r * rows.row_bytes + c * bytes,
                static_cast<size_t>((rows.width - c) * bytes));
  transpose4(rest, 16, w);
  put(c, w);
}

// Columns [column, column + 16) of a value row as bits: of f32, or of bf16 in the low half. Zeros past its
// end.
MINKE_INLINE Vi value_columns(const std::byte* row, const KeyRows& rows, int column) {
  const int left = rows.width - column;
  if (rows.format == KvFormat::f32)
    return as_int(load_first(reinterpret_cast<const float*>(row) + column, left));
  if (left >= 16) return load_u16(row + 2 * column);
  uint16_t last[16] = {};
  std::memcpy(last, row + 2 * column, static_cast<size_t>(left) * 2);
  return load_u16(last);
}

// Columns of an even number of keys from `first` into panel[word][column].
template <Form form>
MINKE_INLINE void value_panel(const KeyRows& rows, int first, int keys, int column, Words panel) {
  for (int s = 0; s < keys; s += 2) {  // neighbours lie in one page
    const std::byte* row = row_at(rows, first + s);
    const Vi even = value_columns(row, rows, column), odd = value_columns(row + rows.row_bytes, rows, column);
    if (form == Form::pairs) {
      store(panel[s / 2], bit_or(even, shl<16>(odd)));
    } else if (rows.format == KvFormat::f32) {
      store(panel[s], even);
      store(panel[s + 1], odd);
    } else {
      store(panel[s], shl<16>(even));
      store(panel[s + 1], shl<16>(odd));
    }
  }
}

struct Memory {
  float* scores;     // [queries][256]: scores, then weights as words
  int32_t* queries;  // tiles of rows, [words][T] each
  Words panel;       // [kBeside][words of max(width, 256)][16]
};

Memory memory_of(std::byte* scratch, int width) {
  auto* p = reinterpret_cast<float*>(scratch);
  auto* queries = reinterpret_cast<int32_t*>(p + kMaxQueries * kKeyChunk);
  return {p, queries, reinterpret_cast<Words>(queries + kMaxQueries * (width + width % 2))};
}

// row(i): the i-th query row.
template <typename Row>
MINKE_INLINE void interleave_all(Form form, const KeyRows& keys, int count, int32_t* out, const Row& row) {
  for_each_tile(0, count, [&](auto T, int i) MINKE_INLINED {
    const float* rows[T];
    for (int t = 0; t < T; ++t) rows[t] = row(i + t);
    interleave<T>(form, keys.format == KvFormat::bf16, rows, keys.width,
                  out + i * words_of(form, keys.width));
  });
}

// The 16 rows from s, where there are any before `last`.
MINKE_INLINE void prefetch_rows(const KeyRows& rows, int s, int last) {
  if (s >= last) return;
  const std::byte* p = row_at(rows, s);
  for (int r = 0; r < 16; ++r, p += rows.row_bytes)
    for (int64_t b = 0; b < rows.width * kv_bytes(rows.format); b += 64) __builtin_prefetch(p + b, 0, 2);
}

template <Form form, int P>
void chunk_scores(const AttendSpan& a, int first, int last, const Memory& m) {
  const int words = words_of(form, a.keys.width);
  for (int s = first; s < last; s += 16 * P) {
    for (int p = 0; p < P && s + 16 * p < last; ++p) {
      prefetch_rows(a.keys, s + 16 * p + 16, a.last);
      prefetch_rows(a.values, s + 16 * p, a.last);  // their turn comes after all keys'
      key_panel<form>(row_at(a.keys, s + 16 * p), a.keys, m.panel + p * words);
    }
    for_each_tile(0, a.queries, [&](auto T, int i) MINKE_INLINED {
      constexpr int kPanels = kAtOnce<T, P>;
      const int32_t* q = m.queries + i * words;
      for (int p = 0; p < P; p += kPanels) {
        Vf dots[kPanels][T];
        unroll<kPanels * T>([&](auto n) MINKE_INLINED { dots[n / T][n % T] = zero_f(); });
        add_dots<form, T, kPanels>(
            m.panel + p * words, words, [&](int t, int k) MINKE_INLINED { return q + k * T + t; }, dots);
        unroll<kPanels * T>([&](auto n) MINKE_INLINED {  // what is past the last row is not looked at
          store(m.scores + (i + n % T) * kKeyChunk + s - first + 16 * (p + n / T), dots[n / T][n % T]);
        });
      }
    });
  }
}

constexpr float kNone = -__builtin_inff();

// Scores of row i to weights exp(score - new peak), as words; keys out of sight and up to `padded` get 0.
// Returns the factor for what was summed before this chunk; peak and mass are brought up to date.
template <Form form>
float chunk_softmax(const AttendSpan& a, int i, int first, int padded, float* scores) {
  const int low = std::max(a.from[i] - first, 0), high = std::min(a.to[i], first + padded) - first;
  for (int s = 0; s < std::min(low, padded); ++s) scores[s] = kNone;
  for (int s = std::max(high, 0); s < padded; ++s) scores[s] = kNone;
  Vf top = set1(kNone);
  for (int s = 0; s < padded; s += 16) top = max(load(scores + s), top);
  const float peak = largest(top);
  if (peak == kNone) {
    for (int s = 0; s < padded; s += 16) store(scores + s, zero_f());
    return 1.0f;
  }
  const float before = a.peak[i], now = peak > before ? peak : before;
  Vf total = zero_f();
  for (int s = 0; s < padded; s += 16) {
    store(scores + s, exp(sub(load(scores + s), set1(now))));
    // exp of a clamped argument is tiny but not 0: what is out of sight must weigh nothing.
    for (int j = s; j < std::min(low, s + 16); ++j) scores[j] = 0.0f;
    for (int j = std::max(high, s); j < s + 16; ++j) scores[j] = 0.0f;
    Vf weight = load(scores + s);
    if (a.values.format == KvFormat::bf16) {
      const Vi bits = rounded_bf16(weight);
      weight = as_float(shl<16>(bits));
      if (form == Form::pairs)
        store_u16(reinterpret_cast<uint16_t*>(scores) + s, bits);  // behind what is still to be read
      else
        store(scores + s, weight);
    }
    total = add(total, weight);
  }
  float factor = 1.0f;
  if (before == kNone)
    factor = 0.0f;
  else if (now > before) {
    alignas(64) float f[16];
    store(f, exp(set1(before - now)));
    factor = f[0];
  }
  a.mass[i] = __builtin_fmaf(a.mass[i], factor, sum(total));
  a.peak[i] = now;
  return factor;
}

// out = out * factor + weights . values over the keys of a chunk.
template <Form form, int P>
void chunk_values(const AttendSpan& a, int first, int keys, const float* factors, const Memory& m) {
  const int width = a.values.width, words = words_of(form, keys);
  for (int column = 0; column < width; column += 16 * P) {
    for (int p = 0; p < P && column + 16 * p < width; ++p)
      value_panel<form>(a.values, first, keys, column + 16 * p, m.panel + p * words);
    for_each_tile(0, a.queries, [&](auto T, int i) MINKE_INLINED {
      constexpr int kPanels = kAtOnce<T, P>;
      const float* weights = m.scores + i * kKeyChunk;
      for (int p = 0; p < P; p += kPanels) {
        Vf total[kPanels][T];
        const auto at = [&](int n)
                            MINKE_INLINED { return a.out + (i + n % T) * width + column + 16 * (p + n / T); };
        const auto left = [&](int n) MINKE_INLINED { return width - column - 16 * (p + n / T); };
        unroll<kPanels * T>([&](auto n) MINKE_INLINED {
          total[n / T][n % T] = mul(load_first(at(n), left(n)), set1(factors[i + n % T]));
        });
        add_dots<form, T, kPanels>(
            m.panel + p * words, words,
            [&](int t, int k) MINKE_INLINED { return weights + t * kKeyChunk + k; }, total);
        unroll<kPanels * T>([&](auto n) MINKE_INLINED { store_first(at(n), total[n / T][n % T], left(n)); });
      }
    });
  }
}

template <Form form, int P>
void attend_in(const AttendSpan& a, std::byte* scratch) {
  const Memory m = memory_of(scratch, std::max(a.keys.width, a.values.width));
  interleave_all(form, a.keys, a.queries, m.queries, [&](int i) { return a.q[i]; });
  std::memset(a.out, 0, static_cast<size_t>(a.queries) * static_cast<size_t>(a.values.width) * 4);
  int low = a.last, high = a.first;  // keys that any row sees
  for (int i = 0; i < a.queries; ++i) {
    a.peak[i] = kNone;
    a.mass[i] = 0.0f;
    if (a.from[i] >= a.to[i]) continue;
    low = std::min(low, a.from[i]);
    high = std::max(high, a.to[i]);
  }
  high = std::min(high, a.last);
  for (int first = a.first; first < high; first += kKeyChunk) {
    if (first + kKeyChunk <= low) continue;
    const int keys = std::min(kKeyChunk, high - first), padded = (keys + 15) / 16 * 16;
    chunk_scores<form, P>(a, first, first + padded, m);
    float factors[kMaxQueries];
    for (int i = 0; i < a.queries; ++i)
      factors[i] = chunk_softmax<form>(a, i, first, padded, m.scores + i * kKeyChunk);
    chunk_values<form, P>(a, first, padded, factors, m);
  }
}

void attend(const AttendSpan& a, std::byte* scratch) {
  const bool bf16 = a.keys.format == KvFormat::bf16 && a.values.format == KvFormat::bf16;
  with_form(bf16, [&](auto form) {
    constexpr Form kForm = decltype(form)::value;
    if (a.queries < kTokenTile)
      attend_in<kForm, kBeside>(a, scratch);
    else
      attend_in<kForm, 1>(a, scratch);
  });
}

// scores[s - first] += sum over heads of w[h] * relu(q[h] . key s), heads in ascending order.
template <Form form>
void index_scores_in(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                     float* scores, std::byte* scratch) {
  const Memory m = memory_of(scratch, keys.width);
  const int words = words_of(form, keys.width);
  interleave_all(form, keys, heads, m.queries, [&](int h) { return q + h * keys.width; });
  for (int s = first; s < last; s += 16) {
    prefetch_rows(keys, s + 16, last);
    key_panel<form>(row_at(keys, s), keys, m.panel);
    Vf total = load_first(scores + s - first, last - s);
    for_each_tile(0, heads, [&](auto T, int h) MINKE_INLINED {
      Vf dots[1][T];
      unroll<T>([&](auto t) MINKE_INLINED { dots[0][t] = zero_f(); });
      const int32_t* head = m.queries + h * words;
      add_dots<form, T, 1>(
          m.panel, words, [&](int t, int k) MINKE_INLINED { return head + k * T + t; }, dots);
      unroll<T>([&](auto t) MINKE_INLINED { total = fma(set1(w[h + t]), max(dots[0][t], zero_f()), total); });
    });
    store_first(scores + s - first, total, last - s);
  }
}

void index_scores(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                  float* scores, std::byte* scratch) {
  with_form(keys.format == KvFormat::bf16, [&](auto form) {
    index_scores_in<decltype(form)::value>(q, w, heads, keys, first, last, scores, scratch);
  });
}

void to_bf16(const float* x, int n, uint16_t* out) {
  for (int i = 0; i < n; i += 16) {
    const Vi rounded = rounded_bf16(load_first(x + i, n - i));
    if (n - i >= 16) {
      store_u16(out + i, rounded);
    } else {
      uint16_t last[16];
      store_u16(last, rounded);
      std::memcpy(out + i, last, static_cast<size_t>(n - i) * 2);
    }
  }
}

}  // namespace

void MINKE_FILL(attention)(Kernels& table) {
  table.attend = attend;
  table.index_scores = index_scores;
  table.to_bf16 = to_bf16;
}

}  // namespace minke
