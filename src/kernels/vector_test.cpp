// Row-wise kernels: right against double, and the same bits on every instruction set, for every length.

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "kernels/isas.h"
#include "kernels/test_data.h"

namespace minke {
namespace {

using Vector = std::vector<float>;

// Runs f(kernels, n) for many lengths on all instruction sets; it returns what it computed. Gives the scalar
// result to check.
void everywhere(const std::function<Vector(const Kernels&, int)>& f,
                const std::function<void(const Vector&, int)>& check) {
  for (const int n : {1, 2, 15, 16, 17, 31, 64, 100, 576, 1000}) {
    const Vector expected = f(kernels_for(Isa::scalar), n);
    check(expected, n);
    for (const Isa isa : usable_isas()) ASSERT_EQ(f(kernels_for(isa), n), expected) << name(isa) << ' ' << n;
  }
}

Vector input(int n, uint64_t seed, float spread = 1.0f) {
  Random random(seed);
  return random_floats(random, n, spread);
}

TEST(Vector, Rmsnorm) {
  everywhere(
      [](const Kernels& k, int n) {
        Vector y(static_cast<size_t>(n));
        k.rmsnorm(input(n, 1).data(), input(n, 2).data(), 1e-5f, n, y.data());
        return y;
      },
      [](const Vector& y, int n) {
        const Vector x = input(n, 1), w = input(n, 2);
        double squares = 0;
        for (const float v : x) squares += double{v} * v;
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_NEAR(y[i], x[i] / std::sqrt(squares / n + 1e-5) * w[i], 2e-6 * std::abs(y[i]) + 1e-7);
      });
}

TEST(Vector, Layernorm) {
  everywhere(
      [](const Kernels& k, int n) {
        Vector y(static_cast<size_t>(n));
        k.layernorm(input(n, 1).data(), input(n, 2).data(), input(n, 3).data(), 1e-6f, n, y.data());
        return y;
      },
      [](const Vector& y, int n) {
        const Vector x = input(n, 1), w = input(n, 2), b = input(n, 3);
        double mean = 0, variance = 0;
        for (const float v : x) mean += v / n;
        for (const float v : x) variance += (v - mean) * (v - mean) / n;
        if (n == 1) return;  // mean and variance are what rounding leaves
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_NEAR(y[i], (x[i] - mean) / std::sqrt(variance + 1e-6) * w[i] + b[i], 1e-5);
      });
}

TEST(Vector, Softmax) {
  everywhere(
      [](const Kernels& k, int n) {
        Vector x = input(n, 4, 5.0f);
        k.softmax(x.data(), n);
        return x;
      },
      [](const Vector& y, int n) {
        const Vector x = input(n, 4, 5.0f);
        double total = 0;
        for (const float v : x) total += std::exp(double{v});
        for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], std::exp(double{x[i]}) / total, 1e-6);
      });
}

TEST(Vector, SiluMulAlsoFarFromZero) {
  everywhere(
      [](const Kernels& k, int n) {
        Vector g = input(n, 5, 40.0f);
        k.silu_mul(g.data(), input(n, 6).data(), n, g.data());
        return g;
      },
      [](const Vector& y, int n) {
        const Vector g = input(n, 5, 40.0f), u = input(n, 6);
        for (size_t i = 0; i < y.size(); ++i) {
          const double expected = g[i] / (1 + std::exp(-double{g[i]})) * u[i];
          ASSERT_NEAR(y[i], expected, 1e-6 * std::abs(expected) + 1e-30);
        }
      });
}

TEST(Vector, SumsAndScales) {
  everywhere(
      [](const Kernels& k, int n) {
        Vector y = input(n, 7);
        k.add(y.data(), input(n, 8).data(), n);
        k.scale_add(y.data(), input(n, 9).data(), 0.3f, n);
        k.scale(y.data(), 1.7f, n);
        y.push_back(k.dot(input(n, 7).data(), input(n, 8).data(), n));
        return y;
      },
      [](const Vector& y, int n) {
        const Vector a = input(n, 7), b = input(n, 8), c = input(n, 9);
        double dot = 0;
        for (size_t i = 0; i < a.size(); ++i) {
          ASSERT_NEAR(y[i], 1.7 * (a[i] + b[i] + 0.3 * c[i]), 1e-5);
          dot += double{a[i]} * b[i];
        }
        ASSERT_NEAR(y.back(), dot, 1e-4);
      });
}

TEST(Vector, RopeTurnsPairs) {
  for (const bool half : {false, true}) {
    everywhere(
        [half](const Kernels& k, int n) {
          Vector x = input(2 * n, 10), c(static_cast<size_t>(n)), s(static_cast<size_t>(n));
          for (size_t i = 0; i < c.size(); ++i) {
            c[i] = std::cos(static_cast<float>(i));
            s[i] = std::sin(static_cast<float>(i));
          }
          k.rope(x.data(), c.data(), s.data(), 2 * n, half);
          return x;
        },
        [half](const Vector& y, int n) {
          const Vector x = input(2 * n, 10);
          for (int i = 0; i < n; ++i) {
            const size_t a = static_cast<size_t>(half ? i : 2 * i),
                         b = static_cast<size_t>(half ? i + n : 2 * i + 1);
            ASSERT_NEAR(y[a], x[a] * std::cos(i) - x[b] * std::sin(i), 1e-5);
            ASSERT_NEAR(y[b], x[a] * std::sin(i) + x[b] * std::cos(i), 1e-5);
          }
        });
  }
}

TEST(UsableIsas, HaveTablesAndTheReferenceIsTheFirst) {
  const std::vector<Isa> isas = usable_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::scalar);
  for (const Isa isa : isas) EXPECT_EQ(kernels_for(isa).isa, isa);
}

TEST(Vector, Bf16RoundsAsTheScalarConversion) {
  const Vector x = input(1000, 11, 100.0f);
  for (const Isa isa : usable_isas()) {
    std::vector<uint16_t> y(x.size());
    kernels_for(isa).to_bf16(x.data(), static_cast<int>(x.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], f32_to_bf16(x[i])) << name(isa);
  }
}

}  // namespace
}  // namespace minke
