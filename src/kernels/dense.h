#pragma once
// Products of two matrices that change every step: how both are packed, and what one call multiplies
// (ops/matmul.h). A lane is a row of the left matrix or a column of the right one.

#include <cstddef>
#include <cstdint>

namespace minke {

// Lanes of numbers as they lie in memory, rounded to bf16 or not when they are packed.
struct DenseSource {
  const float* data = nullptr;
  int64_t stride = 0;
  bool adjacent = false;  // number k of lane l at data[k * stride + l]; else at data[l * stride + k]
  int lanes = 0, depth = 0;
  bool bf16 = false;
};

constexpr int kDenseLanes = 16;  // of a panel: [words][16], zeros beyond the last lane and number

// Packed lanes times packed lanes: out[i * stride + j] = (out +) the sum over all words, i < rows, j < cols.
// Panels lie a_panel and b_panel bytes apart, aligned to 64.
struct DenseBlock {
  const std::byte *a = nullptr, *b = nullptr;
  int64_t a_panel = 0, b_panel = 0;
  int words = 0, rows = 0, cols = 0;
  bool bf16 = false;
  float* out = nullptr;
  int64_t stride = 0;
  bool add = false;
};

}  // namespace minke
