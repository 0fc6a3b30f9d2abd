// What training needs beside the forward pass: products of small f32 tiles, and derivatives of row functions.

#include "kernels/exp.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

constexpr int kLanes = 16;

// Rows [i, i + R) of A times V words of B's columns from j: the accumulators stay in registers over all of
// k. Partial: of the last word only the columns that are there.
template <int R, int V, bool kPartial>
MINKE_INLINE void block(const TileProduct& p, int i, int j) {
  const auto read = [&](const float* from, int v) MINKE_INLINED {
    return kPartial ? load_first(from + v * kLanes, p.columns - j - v * kLanes) : load(from + v * kLanes);
  };
  const auto out = [&](int r) MINKE_INLINED { return p.out + (i + r) * p.out_stride + j; };
  Vf sums[R][V];
  unroll<R>([&](auto r) MINKE_INLINED {
    unroll<V>([&](auto v) MINKE_INLINED { sums[r][v] = p.add ? read(out(r), v) : zero_f(); });
  });
  for (int k = 0; k < p.inner; ++k) {
    Vf words[V];
    unroll<V>([&](auto v) MINKE_INLINED { words[v] = read(p.b + k * p.b_stride + j, v); });
    unroll<R>([&](auto r) MINKE_INLINED {
      const Vf a = set1(p.a[(i + r) * p.a_row + k * p.a_column]);
      unroll<V>([&](auto v) MINKE_INLINED { sums[r][v] = fma(a, words[v], sums[r][v]); });
    });
  }
  unroll<R>([&](auto r) MINKE_INLINED {
    unroll<V>([&](auto v) MINKE_INLINED {
      float* to = out(r) + v * kLanes;
      if constexpr (kPartial)
        store_first(to, sums[r][v], p.columns - j - v * kLanes);
      else
        store(to, sums[r][v]);
    });
  });
}

void tile_product(const TileProduct& p) {
  for_each_tile(0, p.rows, [&](auto tile, int i) MINKE_INLINED {
    constexpr int R = decltype(tile)::value;
    int j = 0;
    for (; j + 2 * kLanes <= p.columns; j += 2 * kLanes) block<R, 2, false>(p, i, j);
    for (; j < p.columns; j += kLanes) block<R, 1, true>(p, i, j);
  });
}

// With s = 1 / sqrt(mean(x^2) + eps): dx = s (w dy - x s^2 mean(w dy x)).
float rmsnorm_backward(const float* x, const float* w, float eps, const float* dy, int n, float* dx) {
  Vf squares = zero_f(), along = zero_f();
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    const Vf v = load_first(x + i, m);
    squares = fma(v, v, squares);
    along = fma(mul(load_first(w + i, m), load_first(dy + i, m)), v, along);
  }
  const float scale = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps);
  const Vf s = set1(scale), back = set1(-scale * scale * scale * sum(along) / static_cast<float>(n));
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    const Vf d = mul(load_first(w + i, m), load_first(dy + i, m));
    store_first(dx + i, fma(s, d, fma(back, load_first(x + i, m), load_first(dx + i, m))), m);
  }
  return scale;
}

// With g = sigmoid(gate): the derivative of gate * g is g (1 + gate (1 - g)).
void silu_mul_backward(const float* gate, const float* up, const float* dy, int n, float* dgate, float* dup) {
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    const Vf x = load_first(gate + i, m), d = load_first(dy + i, m), one = set1(1.0f);
    const Vf g = div(one, add(one, exp(sub(zero_f(), x))));
    const Vf slope = mul(g, fma(x, sub(one, g), one));
    const Vf u = load_first(up + i, m);
    store_first(dup + i, mul(d, mul(x, g)), m);
    store_first(dgate + i, mul(mul(d, u), slope), m);
  }
}

void softmax_backward(const float* y, float scale, int n, float* dy) {
  Vf along = zero_f();
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    along = fma(load_first(y + i, m), load_first(dy + i, m), along);
  }
  const Vf mean = set1(sum(along)), by = set1(scale);
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    store_first(dy + i, mul(mul(by, load_first(y + i, m)), sub(load_first(dy + i, m), mean)), m);
  }
}

void relu_add(float* y, const float* x, float scale, int n) {
  const Vf by = set1(scale);
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    store_first(y + i, fma(by, max(load_first(x + i, m), zero_f()), load_first(y + i, m)), m);
  }
}

float relu_add_backward(float* x, const float* dy, float scale, int n) {
  const Vf by = set1(scale);
  Vf along = zero_f();
  for (int i = 0; i < n; i += kLanes) {
    const int m = n - i < kLanes ? n - i : kLanes;
    const Vf v = load_first(x + i, m), d = load_first(dy + i, m);
    along = fma(max(v, zero_f()), d, along);
    // Numbers above 0 are the integers above 0; the least integer, which is -0, has no negative.
    const Vi bits = as_int(v);
    const Vi above = bit_and(sar<31>(sub(zero_i(), bits)), bit_xor(sar<31>(bits), set1(-1)));
    store_first(x + i, as_float(bit_and(above, as_int(mul(by, d)))), m);
  }
  return sum(along);
}

}  // namespace

void MINKE_FILL(training)(Kernels& table) {
  table.training = {tile_product,     rmsnorm_backward, silu_mul_backward,
                    softmax_backward, relu_add,         relu_add_backward};
}

}  // namespace minke
