// Products of dense matrices: numbers are packed into panels of sixteen lanes, and a register tile of left
// lanes meets several right panels at once. Every output is one sum over the depth, pair by pair in ascending
// order, the odd one of a pair first: the order of the instruction that adds two products of bf16 at once.
// Where it is not there, the same rounded numbers are multiplied in f32.

#include "kernels/dense.h"

#include <algorithm>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// A tile's left lanes and right panels: sums of them all stay in registers.
#if defined(__AVX512F__)
constexpr int kTile = 8, kTilePanels = 3;
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int kTile = 4, kTilePanels = 1;
#else
constexpr int kTile = 2, kTilePanels = 1;
#endif

using Words = int32_t (*)[kDenseLanes];
using ConstWords = const int32_t (*)[kDenseLanes];

// How numbers lie in panels: two bf16 a word, or one f32 that is rounded to bf16, or not.
enum class Form { pairs, rounded, plain };
constexpr Form kBf16Form = kBf16Dots ? Form::pairs : Form::rounded;

// ---- Packing

constexpr int kStrip = 64;  // numbers of a lane that are rounded at once
constexpr int kAhead = 32;  // rows of neighbouring lanes between what is asked from memory and what is packed

// Number k of every lane, k even, and the one behind it, to their place in a panel.
template <Form form>
MINKE_INLINE void put(Words panel, int k, Vf even, Vf odd) {
  if constexpr (form == Form::pairs) {
    store(panel[k / 2], pair_bf16(even, odd));
  } else {
    store(panel[k], as_int(form == Form::rounded ? round_bf16(even) : even));
    store(panel[k + 1], as_int(form == Form::rounded ? round_bf16(odd) : odd));
  }
}

// Lanes that are neighbours in memory: a row of them after the other, to all panels.
template <Form form>
void pack_adjacent(const DenseSource& s, std::byte* out, int64_t panel_bytes) {
  for (int k = 0; k < s.depth; k += 2) {
    const float* even = s.data + k * s.stride;
    const bool last = k + 1 == s.depth;
    std::byte* to = out;
    const int64_t ahead = k + kAhead + 1 < s.depth ? kAhead * s.stride : 0;
    for (int lane = 0; lane < s.lanes; lane += kDenseLanes, to += panel_bytes) {
      const int left = s.lanes - lane;
      __builtin_prefetch(even + lane + ahead, 0, 2);
      __builtin_prefetch(even + s.stride + lane + ahead, 0, 2);
      put<form>(reinterpret_cast<Words>(to), k, load_first(even + lane, left),
                last ? zero_f() : load_first(even + s.stride + lane, left));
    }
  }
}

// Sixteen lanes from `lane`, each with its numbers in a row: turned by way of a strip that lies in the L1
// cache, since rows a power of two apart would push each other out of it.
template <Form form>
void pack_lanes(const DenseSource& s, int lane, Words panel) {
  using Number = std::conditional_t<form == Form::pairs, uint16_t, float>;
  constexpr int kPerLoad = 16 / sizeof(Number);
  alignas(64) Number strip[kDenseLanes][kStrip];
  const int here = std::min(kDenseLanes, s.lanes - lane);
  for (int r = here; r < kDenseLanes; ++r) std::fill_n(strip[r], kStrip, Number{});
  for (int k = 0; k < s.depth; k += kStrip) {
    const int count = std::min(kStrip, s.depth - k), even_count = (count + 1) / 2 * 2;
    for (int r = 0; r < here; ++r) {
      const float* from = s.data + (lane + r) * s.stride + k;
      const float* next = k + kStrip < s.depth ? from + kStrip : from - k + kDenseLanes * s.stride;
      if (k + kStrip < s.depth || lane + kDenseLanes + r < s.lanes)
        for (int i = 0; i < kStrip; i += 16) __builtin_prefetch(next + i, 0, 2);
      for (int i = 0; i < count; i += 16) {
        const Vf x = load_first(from + i, count - i);
        if constexpr (form == Form::pairs)
          store_bf16(strip[r] + i, x);
        else
          store(strip[r] + i, x);
      }
    }
    for (int i = 0; i < even_count; i += kPerLoad) {
      Vi w[4];
      transpose4(Strided{reinterpret_cast<const std::byte*>(&strip[0][i]), sizeof strip[0]}, 0, w);
      if constexpr (form == Form::pairs) {
        unroll<4>([&](auto j) MINKE_INLINED {
          if (i + 2 * j < even_count) store(panel[(k + i) / 2 + j], w[j]);
        });
      } else {
        put<form>(panel, k + i, as_float(w[0]), as_float(w[1]));
        if (i + 2 < even_count) put<form>(panel, k + i + 2, as_float(w[2]), as_float(w[3]));
      }
    }
  }
}

// Not inlined, nor is multiply_in: what is set for denormals must stand around all of it.
template <Form form>
__attribute__((noinline)) void pack_in(const DenseSource& s, std::byte* out, int64_t panel_bytes) {
  if (s.adjacent) return pack_adjacent<form>(s, out, panel_bytes);
  for (int lane = 0; lane < s.lanes; lane += kDenseLanes, out += panel_bytes)
    pack_lanes<form>(s, lane, reinterpret_cast<Words>(out));
}

void pack(const DenseSource& s, std::byte* out, int64_t panel_bytes) {
  if (!s.bf16) return pack_in<Form::plain>(s, out, panel_bytes);
  const Denormals before = flush_denormals();
  pack_in<kBf16Form>(s, out, panel_bytes);
  restore(before);
}

// ---- Multiplying

// T left lanes from a[.][0], P right panels; the last has `last` columns.
template <Form form, int T, int P>
MINKE_INLINE void tile(const DenseBlock& d, ConstWords a, const std::byte* b, float* out, int last) {
  ConstWords panel[P];
  unroll<P>([&](auto p) MINKE_INLINED { panel[p] = reinterpret_cast<ConstWords>(b + p * d.b_panel); });
  Vf sum[P][T];
  const auto each = [&](const auto& f) MINKE_INLINED {
    unroll<T * P>([&](auto n) MINKE_INLINED {
      constexpr int p = n % P, t = n / P;
      f(out + t * d.stride + kDenseLanes * p, sum[p][t], p == P - 1 ? last : kDenseLanes);
    });
  };
  if (d.add)
    each([](const float* at, Vf& s, int n) MINKE_INLINED { s = load_first(at, n); });
  else
    each([](const float*, Vf& s, int) MINKE_INLINED { s = zero_f(); });
  if constexpr (form == Form::pairs) {
    for (int k = 0; k < d.words; ++k) {
      Vi right[P];
      unroll<P>([&](auto p) MINKE_INLINED { right[p] = load(panel[p][k]); });
      unroll<T>([&](auto t) MINKE_INLINED {
        const Vi left = broadcast4(&a[k][t]);
        unroll<P>([&](auto p) MINKE_INLINED { sum[p][t] = dot_bf16(sum[p][t], right[p], left); });
      });
    }
  } else {
    const auto step = [&](int k) MINKE_INLINED {
      Vf right[P];
      unroll<P>([&](auto p) MINKE_INLINED { right[p] = as_float(load(panel[p][k])); });
      unroll<T>([&](auto t) MINKE_INLINED {
        const Vf left = as_float(broadcast4(&a[k][t]));
        unroll<P>([&](auto p) MINKE_INLINED { sum[p][t] = fma(right[p], left, sum[p][t]); });
      });
    };
    for (int k = 0; k < d.words; k += 2) {
      step(k + 1);
      step(k);
    }
  }
  each([](float* at, const Vf& s, int n) MINKE_INLINED { store_first(at, s, n); });
}

// All left lanes with P right panels.
template <Form form, int P>
void columns(const DenseBlock& d, const std::byte* b, float* out, int last) {
  for (int row = 0; row < d.rows; row += kDenseLanes) {
    const auto a = reinterpret_cast<ConstWords>(d.a + row / kDenseLanes * d.a_panel);
    for_each_tile<kTile>(0, std::min(kDenseLanes, d.rows - row), [&](auto T, int t) MINKE_INLINED {
      if (row + t + 2 * T <= d.rows) {  // where the next tile's sums go
        unroll<T * P>([&](auto n) MINKE_INLINED {
          __builtin_prefetch(out + (row + t + T + n / P) * d.stride + kDenseLanes * (n % P), 1, 2);
        });
      }
      tile<form, T, P>(d, reinterpret_cast<ConstWords>(&a[0][t]), b, out + (row + t) * d.stride, last);
    });
  }
}

template <Form form>
__attribute__((noinline)) void multiply_in(const DenseBlock& d) {
  const int panels = (d.cols + kDenseLanes - 1) / kDenseLanes;
  const int groups = (panels + kTilePanels - 1) / kTilePanels;
  for (int g = 0; g < groups; ++g) {  // of sizes that differ by one at most
    const int first = panels * g / groups, count = panels * (g + 1) / groups - first;
    const std::byte* b = d.b + first * d.b_panel;
    float* out = d.out + kDenseLanes * first;
    const int last = std::min(kDenseLanes, d.cols - kDenseLanes * (first + count - 1));
    unroll<kTilePanels>([&](auto p) {
      if (count == p + 1) columns<form, p + 1>(d, b, out, last);
    });
  }
}

void multiply(const DenseBlock& d) {
  if (!d.bf16) return multiply_in<Form::plain>(d);
  const Denormals before = flush_denormals();
  multiply_in<kBf16Form>(d);
  restore(before);
}

}  // namespace

void MINKE_FILL(dense)(Kernels& table) {
  table.dense_pairs = kBf16Dots;
  table.dense_pack = pack;
  table.dense_multiply = multiply;
}

}  // namespace minke
