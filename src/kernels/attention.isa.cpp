// Attention over cached rows, sixteen keys (or sixteen value columns) in the lanes and a register tile of
// queries beside them. Over bf16 and fp8, queries and weights are rounded to bf16; over int8, to bytes.

#include "kernels/attention.h"

#include "kernels/attention_ahead.h"
#include "kernels/attention_keys.h"
#include "kernels/attention_values.h"
#include "kernels/bf16.h"
#include "kernels/exp.h"
#include "kernels/tables.h"

namespace minke {
namespace {

struct Memory {
  float* scores;     // [queries][256]: scores, then weights as words
  float* scales;     // [256]: of the values
  uint8_t* codes;    // [queries][256]: weights as bytes
  int32_t* queries;  // tiles of rows, [words][T] each
  Words panel;       // [kBeside][words of max(width, 256)][16]
};

Memory memory_of(std::byte* scratch, int width) {
  Memory m;
  m.scores = reinterpret_cast<float*>(scratch);
  m.scales = m.scores + kMaxQueries * kKeyChunk;
  m.codes = reinterpret_cast<uint8_t*>(m.scales + kKeyChunk);
  m.queries = reinterpret_cast<int32_t*>(m.codes + kMaxQueries * kKeyChunk);
  m.panel = reinterpret_cast<Words>(m.queries + kMaxQueries * query_space(width));
  return m;
}

template <KvFormat format, int P>
void chunk_scores(const AttendSpan& a, int first, int last, const Memory& m, Ahead<format>& ahead) {
  const int width = a.keys.width, stride = key_panel_rows<format>(width);
  if constexpr (kRowsAsTheyLie<format>)
    if (rows_as_they_lie<format>(a.queries, width)) {
      for (int s = first; s < last; s += 16) {
        ahead.ask(0, s + 32);
        for (int i = 0; i < a.queries; i += 16)
          row_scores<format>(a.keys, s, m.queries + i * query_words<format>(width),
                             m.scores + i * kKeyChunk + s - first, ahead);
      }
      return;
    }
  for (int s = first; s < last; s += 16 * P) {
    ahead.ask(8 * P, s + 32 * P);  // half of a chunk's, the other half beside values
    for (int p = 0; p < P && s + 16 * p < last; ++p) {
      key_panel<format>(a.keys, s + 16 * p, m.panel + p * stride);
    }
    for_each_tile(0, a.queries, [&](auto T, int i) MINKE_INLINED {
      constexpr int kPanels = kAtOnce<T, P>;
      for (int p = 0; p < P; p += kPanels) {
        Vf scores[kPanels][T];
        key_scores<format, T, kPanels>(m.panel + p * stride, m.queries + i * query_words<format>(width),
                                       width, scores);
        unroll<kPanels * T>([&](auto n) MINKE_INLINED {  // what is past the last row is not looked at
          store(m.scores + (i + n % T) * kKeyChunk + s - first + 16 * (p + n / T), scores[n / T][n % T]);
        });
      }
    });
  }
}

constexpr float kNone = -__builtin_inff();

// Scores of row i to weights exp(score - new peak), as words (over int8 as f32); keys out of sight and up to
// `padded` get 0. Returns the factor for what was summed before this chunk; peak and mass are brought up to
// date.
template <KvFormat format>
float chunk_softmax(const AttendSpan& a, int i, int first, int padded, const Memory& m) {
  float* scores = m.scores + i * kKeyChunk;
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
    const Vf below = sub(load(scores + s), set1(now));
    Vf weight = format == KvFormat::f32 ? exp_of_negative(below) : exp_of_negative_coarsely(below);
    if (s < low || s + 16 > high) {  // exp of a clamped argument is not 0, and what is out of sight weighs 0
      alignas(64) float lanes[16];
      store(lanes, weight);
      for (int j = 0; j < 16; ++j) lanes[j] = s + j >= low && s + j < high ? lanes[j] : 0.0f;
      weight = load(lanes);
    }
    if constexpr (format == KvFormat::bf16 || format == KvFormat::fp8) {
      const Vf scaled = format == KvFormat::fp8 ? mul(weight, load(m.scales + s)) : weight;
      if constexpr (kPairs<format>) {
        store_bf16(reinterpret_cast<uint16_t*>(scores) + s, scaled);  // behind what is still to be read
        if constexpr (format == KvFormat::bf16) weight = round_bf16(weight);
      } else {
        const Vf rounded = as_float(shl<16>(rounded_bf16(scaled)));
        if constexpr (format == KvFormat::bf16) weight = rounded;
        store(scores + s, rounded);
      }
    } else {
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

template <KvFormat format, int P>
void attend_in(const AttendSpan& a, std::byte* scratch) {
  const Memory m = memory_of(scratch, std::max(a.keys.width, a.values.width));
  const auto query = [&](int i) { return a.q[i]; };
  if (rows_as_they_lie<format>(a.queries, a.keys.width))
    put_queries<format, 16>(a.keys.width, a.queries, m.queries, query);
  else
    put_queries<format>(a.keys.width, a.queries, m.queries, query);
  Ahead<format> ahead(a);
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
    ahead.limit(first + 2 * kKeyChunk);
    chunk_scores<format, P>(a, first, first + padded, m, ahead);
    if constexpr (format == KvFormat::fp8)
      for (int s = 0; s < padded; s += 16) store(m.scales + s, row_scales(a.values, first + s, 0));
    float factors[kMaxQueries];
    for (int i = 0; i < a.queries; ++i) factors[i] = chunk_softmax<format>(a, i, first, padded, m);
    // Half a chunk over all panels of 16 columns and two tiles of queries; more tiles are done sooner with
    // it.
    const int rows = (kKeyChunk / 4 * 16 + a.values.width - 1) / a.values.width;
    const auto ask = [&] { ahead.ask(rows, 0); };
    if constexpr (format == KvFormat::int8)
      add_byte_values<P>(a.values, a.queries, first, padded, factors, m.scores, a.out, m.panel, m.scales,
                         m.codes, ask);
    else
      add_values<format, P>(a.values, a.queries, first, padded, factors, m.scores, a.out, m.panel, ask);
  }
}

// f(a constant that is the format).
template <typename F>
MINKE_INLINE void with_format(KvFormat format, const F& f) {
  switch (format) {
    case KvFormat::f32: return f(std::integral_constant<KvFormat, KvFormat::f32>{});
    case KvFormat::bf16: return f(std::integral_constant<KvFormat, KvFormat::bf16>{});
    case KvFormat::int8: return f(std::integral_constant<KvFormat, KvFormat::int8>{});
    case KvFormat::fp8: return f(std::integral_constant<KvFormat, KvFormat::fp8>{});
  }
}

void attend(const AttendSpan& a, std::byte* scratch) {
  with_format(a.keys.format, [&](auto format) {
    constexpr KvFormat kFormat = decltype(format)::value;
    if (a.queries < kTokenTile)
      attend_in<kFormat, kBeside>(a, scratch);
    else
      attend_in<kFormat, kPanelsAtOnce>(a, scratch);
  });
}

// scores[s - first] += sum over heads of w[h] * relu(q[h] . key s), heads in ascending order.
template <KvFormat format>
void index_scores_in(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                     float* scores, std::byte* scratch) {
  const Memory m = memory_of(scratch, keys.width);
  put_queries<format>(keys.width, heads, m.queries, [&](int h) { return q + h * keys.width; });
  for (int s = first; s < last; s += 16) {
    for (int next = s + 16; next < std::min(s + 32, last); ++next) prefetch_row<format>(keys, next);
    key_panel<format>(keys, s, m.panel);
    Vf total = load_first(scores + s - first, last - s);
    for_each_tile(0, heads, [&](auto T, int h) MINKE_INLINED {
      Vf dots[1][T];
      key_scores<format, T, 1>(m.panel, m.queries + h * query_words<format>(keys.width), keys.width, dots);
      unroll<T>([&](auto t) MINKE_INLINED { total = fma(set1(w[h + t]), max(dots[0][t], zero_f()), total); });
    });
    store_first(scores + s - first, total, last - s);
  }
}

void index_scores(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                  float* scores, std::byte* scratch) {
  with_format(keys.format, [&](auto format) {
    index_scores_in<decltype(format)::value>(q, w, heads, keys, first, last, scores, scratch);
  });
}

}  // namespace

void MINKE_FILL(attention)(Kernels& table) {
  table.attend = attend;
  table.index_scores = index_scores;
}

}  // namespace minke
