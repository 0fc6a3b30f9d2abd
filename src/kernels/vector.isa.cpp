// Row-wise functions over f32: norms, rotations, activations, softmax.

#include "kernels/exp.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

constexpr int kLanes = 16;

// f(offset, n) over n values, 16 at a time; the last call may have fewer.
template <typename F>
MINKE_INLINE void lanes(int n, const F& f) {
  for (int i = 0; i < n; i += kLanes) f(i, n - i < kLanes ? n - i : kLanes);
}

MINKE_INLINE float square_root(float x) { return __builtin_sqrtf(x); }

void rmsnorm(const float* x, const float* w, float eps, int n, float* y) {
  Vf squares = zero_f();
  lanes(n, [&](int i, int m) {
    const Vf v = load_first(x + i, m);
    squares = fma(v, v, squares);
  });
  const Vf factor = set1(1.0f / square_root(sum(squares) / static_cast<float>(n) + eps));
  lanes(n, [&](int i, int m) {
    const Vf v = mul(load_first(x + i, m), factor);
    store_first(y + i, w ? mul(v, load_first(w + i, m)) : v, m);
  });
}

void layernorm(const float* x, const float* w, const float* b, float eps, int n, float* y) {
  Vf total = zero_f(), squares = zero_f();
  lanes(n, [&](int i, int m) { total = add(total, load_first(x + i, m)); });
  const Vf mean = set1(sum(total) / static_cast<float>(n));
  lanes(n, [&](int i, int m) {
    store_first(y + i, sub(load_first(x + i, m), mean), m);
    const Vf v = load_first(y + i, m);  // lanes past the end are 0 again
    squares = fma(v, v, squares);
  });
  const Vf factor = set1(1.0f / square_root(sum(squares) / static_cast<float>(n) + eps));
  lanes(n, [&](int i, int m) {
    const Vf v = mul(load_first(y + i, m), factor);
    store_first(y + i, fma(v, load_first(w + i, m), load_first(b + i, m)), m);
  });
}

void rope(float* x, const float* cos, const float* sin, int n, bool half) {
  for (int i = 0; i < n / 2; ++i) {
    float& a = half ? x[i] : x[2 * i];
    float& b = half ? x[i + n / 2] : x[2 * i + 1];
    const float p = a, q = b;
    a = p * cos[i] - q * sin[i];
    b = p * sin[i] + q * cos[i];
  }
}

void silu_mul(const float* gate, const float* up, int n, float* y) {
  lanes(n, [&](int i, int m) {
    const Vf g = load_first(gate + i, m);
    const Vf silu = div(g, add(set1(1.0f), exp(sub(zero_f(), g))));
    store_first(y + i, mul(silu, load_first(up + i, m)), m);
  });
}

void softmax(float* x, int n) {
  Vf top = set1(-__builtin_inff());
  lanes(n, [&](int i, int m) {
    if (m == kLanes)
      top = max(load(x + i), top);
    else
      for (int j = 0; j < m; ++j) top = max(set1(x[i + j]), top);
  });
  const Vf peak = set1(largest(top));
  Vf total = zero_f();
  lanes(n, [&](int i, int m) {
    store_first(x + i, exp(sub(load_first(x + i, m), peak)), m);
    total = add(total, load_first(x + i, m));
  });
  const Vf factor = set1(1.0f / sum(total));
  lanes(n, [&](int i, int m) { store_first(x + i, mul(load_first(x + i, m), factor), m); });
}

void add_to(float* y, const float* x, int n) {
  lanes(n, [&](int i, int m) { store_first(y + i, add(load_first(y + i, m), load_first(x + i, m)), m); });
}

void scale_add(float* y, const float* x, float scale, int n) {
  lanes(n, [&](int i, int m) {
    store_first(y + i, fma(set1(scale), load_first(x + i, m), load_first(y + i, m)), m);
  });
}

void scale_by(float* x, float scale, int n) {
  lanes(n, [&](int i, int m) { store_first(x + i, mul(load_first(x + i, m), set1(scale)), m); });
}

float dot(const float* a, const float* b, int n) {
  Vf total = zero_f();
  lanes(n, [&](int i, int m) { total = fma(load_first(a + i, m), load_first(b + i, m), total); });
  return sum(total);
}

}  // namespace

void MINKE_FILL(vector)(Kernels& table) {
  table.rmsnorm = rmsnorm;
  table.layernorm = layernorm;
  table.rope = rope;
  table.silu_mul = silu_mul;
  table.softmax = softmax;
  table.add = add_to;
  table.scale_add = scale_add;
  table.scale = scale_by;
  table.dot = dot;
}

}  // namespace minke
