#pragma once
// Products with weight matrices in training, where weights are f32 and change every step: y = W x, and what
// goes back through it.

#include "ops/linear.h"
#include "ops/matmul.h"

namespace minke {

// out[r] (+)= W x[r]; W [out][x.cols] f32, row r of out at out + r * stride.
void project(const Context& ctx, Precision precision, const Rows& x, const Mat& w, float* out, int64_t stride,
             bool add = false);

// [count][cols] f32 that is written, row r at data + r * stride.
struct OutRows {
  float* data = nullptr;
  int64_t stride = 0;
};

// dx[r] (+)= W^T dy[r]; dw += sum over r of dy[r] x[r]^T. dy [x.count][W.rows]. Without data dx or dw is not
// computed.
void project_backward(const Context& ctx, Precision precision, const Rows& x, const Mat& w, const Rows& dy,
                      const OutRows& dx, bool add, float* dw);

// db[j] += sum over r of dy[r][j].
void bias_backward(const Context& ctx, const Rows& dy, float* db);

// As a product sees them.
inline MatrixView view(const Rows& x) { return {x.data, x.count, x.cols, x.stride, false}; }
inline MatrixView transposed(const Rows& x) { return {x.data, x.cols, x.count, x.stride, true}; }
inline MatrixView view(const Mat& w) { return {w.f32(), w.rows, w.cols, w.cols, false}; }
inline MatrixView transposed(const Mat& w) { return {w.f32(), w.cols, w.rows, w.cols, true}; }

}  // namespace minke
