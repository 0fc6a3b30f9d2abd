#pragma once
// Inner loops that only training needs. As those of kernels.h: no threads, no allocation, and the same bits
// on every instruction set.

#include <cstdint>

namespace minke {

// out[i][j] (+)= sum over k of A[i][k] B[k][j], f32, each sum in the order of k; A[i][k] at
// a + i * a_row + k * a_column, rows of B and of out as far apart as their strides say.
struct TileProduct {
  int rows, columns, inner;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_stride;
  float* out;
  int64_t out_stride;
  bool add = false;
};

struct TrainingKernels {
  // Products that one thread does, of operands that lie in its caches.
  void (*tile_product)(const TileProduct& product);
  // dx += the gradient by x of rmsnorm, whose output has the gradient dy; w not null. Returns
  // 1 / sqrt(mean(x^2) + eps).
  float (*rmsnorm_backward)(const float* x, const float* w, float eps, const float* dy, int n, float* dx);
  // The gradients of silu_mul; dgate may be gate, dup may be up or dy.
  void (*silu_mul_backward)(const float* gate, const float* up, const float* dy, int n, float* dgate,
                            float* dup);
  // Of y = softmax(scale x) with the gradient dy [n], in place: dy = scale y (dy - sum y dy).
  void (*softmax_backward)(const float* y, float scale, int n, float* dy);
  void (*relu_add)(float* y, const float* x, float scale, int n);  // y += scale * max(x, 0)
  // Of the same with the gradient dy [n], in place: x = scale * dy where x > 0, else 0. Returns that by
  // scale.
  float (*relu_add_backward)(float* x, const float* dy, float scale, int n);
};

}  // namespace minke
