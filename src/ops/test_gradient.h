#pragma once
// For tests: gradients against central differences of a function computed in doubles.

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "ops/test_ops.h"

namespace minke {

using Doubles = std::vector<double>;

// f(Doubles) is the function, dx what is claimed to be its gradient at x.
template <typename F>
void expect_gradient(const std::vector<float>& x, const std::vector<float>& dx, const F& f,
                     const std::string& what, double tolerance = 1e-5) {
  ASSERT_EQ(x.size(), dx.size()) << what;
  Doubles at(x.begin(), x.end()), expected(x.size());
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    constexpr double kStep = 1e-5;
    const double here = at[i];
    at[i] = here + kStep;
    const double above = f(at);
    at[i] = here - kStep;
    const double below = f(at);
    at[i] = here;
    expected[i] = (above - below) / (2 * kStep);
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_GT(largest, 0) << what;
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(dx[i], expected[i], tolerance * largest + 1e-7) << what << ' ' << i;
}

inline Doubles doubles(const std::vector<float>& x) { return Doubles(x.begin(), x.end()); }

inline double weighted(const Doubles& y, const std::vector<float>& weights) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += y[i] * weights[i];
  return sum;
}

}  // namespace minke
