#pragma once
// Parts of a softmax-weighted sum, put together: what attention computes span by span of keys.

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace minke {

constexpr float kNoPeak = -std::numeric_limits<float>::infinity();

// One query's sum over some keys: out [width] = sum of exp(score - peak) * value, mass = sum of the exps;
// peak is kNoPeak where it saw none.
struct PartialRow {
  float* out;
  float *peak, *mass;
};

// sum becomes what attention over the keys of both gives; parts must come in the order of their keys.
inline void merge_row(const Kernels& kernels, int width, const PartialRow& next, const PartialRow& sum) {
  if (*next.peak == kNoPeak) return;
  const float now = std::max(*sum.peak, *next.peak);
  const float keep = *sum.peak == kNoPeak ? 0.0f : std::exp(*sum.peak - now),
              take = std::exp(*next.peak - now);
  if (keep == 0.0f)
    std::fill_n(sum.out, width, 0.0f);
  else if (keep != 1.0f)
    kernels.scale(sum.out, keep, width);
  kernels.scale_add(sum.out, next.out, take, width);
  *sum.mass = *sum.mass * keep + *next.mass * take;
  *sum.peak = now;
}

}  // namespace minke
