#pragma once
// Products of activations and gradients, for training: both operands are f32 in memory and change every step.

#include <cstdint>
#include <span>

#include "ops/context.h"

namespace minke {

// What products are computed in; sums are f32 either way.
enum class Precision : uint8_t {
  f32,
  bf16,  // both operands rounded to bf16, to nearest even
};

// [rows][cols] f32 as a product sees it: element (i, j) at data[i * stride + j], or, where `transposed`, at
// data[j * stride + i].
struct MatrixView {
  const float* data = nullptr;
  int rows = 0, cols = 0;
  int64_t stride = 0;
  bool transposed = false;
};

// out[a.rows][b.cols] (+)= A B, row i at out + i * stride; a.cols == b.rows. Split among the pool's threads;
// every output is summed in one order whatever the threads, so that equal input gives equal bits. Memory for
// packed operands is the pool's threads' own and kept between calls.
void matmul(const Context& ctx, Precision precision, const MatrixView& a, const MatrixView& b, float* out,
            int64_t stride, bool add = false);

// Several products at once: of the heads of an attention, or of experts. None may write what another one
// reads or writes. Threads wait for each other once in many products.
struct MatrixProduct {
  MatrixView a, b;
  float* out;  // [a.rows][b.cols], row i at out + i * stride
  int64_t stride;
  bool add = false;
};
void matmul(const Context& ctx, Precision precision, std::span<const MatrixProduct> products);

}  // namespace minke
