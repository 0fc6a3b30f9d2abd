// Attention over cached rows in f32, sixteen keys (or sixteen value columns) in the lanes and a register tile
// of queries beside them. Every sum over keys and over columns runs in ascending order, one product after the
// other.

#include "kernels/attention.h"

#include <algorithm>
#include <cstring>

#include "kernels/exp.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

constexpr int kChunk = 256;  // keys between two rescalings

const std::byte* row_at(const KeyRows& rows, int s) {
  const int64_t page = rows.pages ? rows.pages[s / kPageTokens] : s / kPageTokens;
  return rows.base + (page * kPageTokens + s % kPageTokens) * rows.row_bytes + rows.offset;
}

// Sixteen rows from `base` into panel[column][row] as f32. Reads whole 16 bytes only inside the row.
void key_panel(const std::byte* base, const KeyRows& rows, float (*panel)[16]) {
  const int per_word = rows.format == KvFormat::f32 ? 4 : 8;
  int c = 0;
  for (; c + per_word <= rows.width; c += per_word) {
    Vi w[4];
    transpose4(base + c * kv_bytes(rows.format), rows.row_bytes, w);
    unroll<4>([&](auto j) MINKE_INLINED {
      if (rows.format == KvFormat::f32) {
        store(panel[c + j], as_float(w[j]));
      } else {
        store(panel[c + 2 * j], as_float(shl<16>(w[j])));
        store(panel[c + 2 * j + 1], as_float(shl<16>(shr<16>(w[j]))));
      }
    });
  }
  for (; c < rows.width; ++c) {
    for (int r = 0; r < 16; ++r) {
      const std::byte* at = base + r * rows.row_bytes + c * kv_bytes(rows.format);
      uint32_t bits = 0;
      std::memcpy(&bits, at, static_cast<size_t>(kv_bytes(rows.format)));
      if (rows.format == KvFormat::bf16) bits <<= 16;
      std::memcpy(&panel[c][r], &bits, 4);
    }
  }
}

// Columns [column, column + 16) of a value row as f32, zeros past its end.
MINKE_INLINE Vf value_columns(const std::byte* row, const KeyRows& rows, int column) {
  const int left = rows.width - column;
  if (rows.format == KvFormat::f32) return load_first(reinterpret_cast<const float*>(row) + column, left);
  if (left >= 16) return load_bf16(row + 2 * column);
  uint16_t last[16] = {};
  std::memcpy(last, row + 2 * column, static_cast<size_t>(left) * 2);
  return load_bf16(last);
}

// f(Index<T>, first row) over rows in register tiles.
template <typename F>
MINKE_INLINE void query_tiles(int rows, const F& f) {
  int i = 0;
  for (; i + kTokenTile <= rows; i += kTokenTile) f(Index<kTokenTile>{}, i);
  unroll<kTokenTile>([&](auto n) MINKE_INLINED {
    if constexpr (n > 0)
      if (rows - i == n) f(n, i);
  });
}

// dots[t] = q[t] . each of the panel's sixteen keys. q: rows of a tile interleaved, [width][T].
template <int T>
MINKE_INLINE void tile_dots(const float (*panel)[16], const float* q, int width, Vf dots[T]) {
  unroll<T>([&](auto t) MINKE_INLINED { dots[t] = zero_f(); });
  for (int c = 0; c < width; ++c, q += T) {
    const Vf key = load(panel[c]);
    unroll<T>([&](auto t) MINKE_INLINED { dots[t] = fma(key, set1(q[t]), dots[t]); });
  }
}

struct Memory {
  float* scores;       // [queries][256]
  float* queries;      // tiles of rows, [width][T] each
  float (*panel)[16];  // [max(width, 256)][16]
};

Memory memory_of(std::byte* scratch, int width) {
  auto* p = reinterpret_cast<float*>(scratch);
  return {p, p + kMaxQueries * kChunk, reinterpret_cast<float(*)[16]>(p + kMaxQueries * (kChunk + width))};
}

// row(i): the i-th query row.
template <typename Row>
MINKE_INLINE void interleave(int rows, int width, float* out, const Row& row) {
  query_tiles(rows, [&](auto T, int i) {
    for (int c = 0; c < width; ++c)
      for (int t = 0; t < T; ++t) *out++ = row(i + t)[c];
  });
}

void chunk_scores(const AttendSpan& a, int first, int last, const Memory& m) {
  const int width = a.keys.width;
  for (int s = first; s < last; s += 16) {
    key_panel(row_at(a.keys, s), a.keys, m.panel);
    query_tiles(a.queries, [&](auto T, int i) {
      Vf dots[T];
      tile_dots<T>(m.panel, m.queries + i * width, width, dots);
      unroll<T>([&](auto t) MINKE_INLINED { store(m.scores + (i + t) * kChunk + s - first, dots[t]); });
    });
  }
}

constexpr float kNone = -__builtin_inff();

// Scores of row i to weights exp(score - new peak); keys out of sight and up to `padded` get 0. Returns the
// factor for what was summed before this chunk; peak and mass are brought up to date.
float chunk_softmax(const AttendSpan& a, int i, int first, int padded, float* scores) {
  const int low = std::max(a.from[i] - first, 0), high = std::min(a.to[i], first + padded) - first;
  for (int s = 0; s < padded; ++s)
    if (s < low || s >= high) scores[s] = kNone;
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
    // exp of a clamped argument is tiny but not 0: what is out of sight must weigh nothing.
    alignas(64) float w[16];
    store(w, exp(sub(load(scores + s), set1(now))));
    for (int j = 0; j < 16; ++j)
      if (s + j < low || s + j >= high) w[j] = 0.0f;
    store(scores + s, load(w));
    total = add(total, load(w));
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
void chunk_values(const AttendSpan& a, int first, int keys, const float* factors, const Memory& m) {
  const int width = a.values.width;
  for (int column = 0; column < width; column += 16) {
    for (int s = 0; s < keys; ++s)
      store(m.panel[s], value_columns(row_at(a.values, first + s), a.values, column));
    const int left = width - column;
    query_tiles(a.queries, [&](auto T, int i) {
      const float* weights = m.scores + i * kChunk;
      Vf total[T];
      unroll<T>([&](auto t) MINKE_INLINED {
        total[t] = mul(load_first(a.out + (i + t) * width + column, left), set1(factors[i + t]));
      });
      for (int s = 0; s < keys; ++s) {
        const Vf value = load(m.panel[s]);
        unroll<T>([&](auto t)
                      MINKE_INLINED { total[t] = fma(value, set1(weights[t * kChunk + s]), total[t]); });
      }
      unroll<T>([&](auto t) MINKE_INLINED { store_first(a.out + (i + t) * width + column, total[t], left); });
    });
  }
}

void attend(const AttendSpan& a, std::byte* scratch) {
  const Memory m = memory_of(scratch, std::max(a.keys.width, a.values.width));
  interleave(a.queries, a.keys.width, m.queries, [&](int i) { return a.q[i]; });
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
  for (int first = a.first; first < high; first += kChunk) {
    if (first + kChunk <= low) continue;
    const int keys = std::min(kChunk, high - first), padded = (keys + 15) / 16 * 16;
    chunk_scores(a, first, first + padded, m);
    float factors[kMaxQueries];
    for (int i = 0; i < a.queries; ++i)
      factors[i] = chunk_softmax(a, i, first, padded, m.scores + i * kChunk);
    chunk_values(a, first, padded, factors, m);
  }
}

// scores[s - first] += sum over heads of w[h] * relu(q[h] . key s), heads in ascending order.
void index_scores(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                  float* scores, std::byte* scratch) {
  const Memory m = memory_of(scratch, keys.width);
  interleave(heads, keys.width, m.queries, [&](int h) { return q + h * keys.width; });
  for (int s = first; s < last; s += 16) {
    key_panel(row_at(keys, s), keys, m.panel);
    Vf total = load_first(scores + s - first, last - s);
    query_tiles(heads, [&](auto T, int h) {
      Vf dots[T];
      tile_dots<T>(m.panel, m.queries + h * keys.width, keys.width, dots);
      unroll<T>([&](auto t) MINKE_INLINED { total = fma(set1(w[h + t]), max(dots[t], zero_f()), total); });
    });
    store_first(scores + s - first, total, last - s);
  }
}

void to_bf16(const float* x, int n, uint16_t* out) {
  for (int i = 0; i < n; i += 16) {
    const Vi bits = as_int(load_first(x + i, n - i));
    const Vi odd = bit_and(shr<16>(bits), set1(1));
    const Vi rounded = shr<16>(add(bits, add(odd, set1(0x7fff))));
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
