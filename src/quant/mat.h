#pragma once
// A matrix of weights, as a view.

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace minke {

// [rows][cols], row r at data + r * row_bytes. A linear with it is y = W x: rows outputs, cols inputs.
// Owns nothing: the bytes are a mapped file's, or an arena's.
struct Mat {
  const std::byte* data = nullptr;
  const float* scales = nullptr;  // f8_e4m3 only: [ceil(rows / 128)][ceil(cols / 128)], they multiply values
  Format format = Format::f32;
  int32_t rows = 0, cols = 0;
  int64_t row_bytes = 0;
  bool interleaved = false;  // rows stand in groups of 16 (interleave.h): row() is for the first of each

  explicit operator bool() const { return data != nullptr; }
  const std::byte* row(int64_t r) const { return data + r * row_bytes; }
  const float* f32() const { return reinterpret_cast<const float*>(data); }  // only where format is f32
  int64_t bytes() const { return rows * row_bytes; }                         // scales not counted
};

constexpr int kScaleBlock = 128;
inline int scale_blocks(int n) { return (n + kScaleBlock - 1) / kScaleBlock; }

// Rows [first, first + count) of m. An f8_e4m3 slice must start at a multiple of 128, one of interleaved rows
// at a multiple of 16, and be as many.
Mat rows_of(const Mat& m, int first, int count);

// Row r as f32 (out[cols]); reference code, for rows looked up one at a time and for tests.
void dequantize_row(const Mat& m, int64_t r, float* out);

}  // namespace minke
