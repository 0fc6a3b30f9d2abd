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
// every output is summed in one order whatever the threads and the instruction set, from what out holds where
// that is added to, so that equal input gives equal bits (NaN stays NaN, of whatever bits). In bf16, numbers
// and sums below the smallest normal one are zeros. Memory for packed operands is the pool's threads' own and
// kept between calls.
void matmul(const Context& ctx, Precision precision, const MatrixView& a, const MatrixView& b, float* out,
            int64_t stride, bool add = false);

// The right operand of many products, packed once: the keys of a head for all its queries. A view of memory
// that pack_here has written.
struct PackedMatrix {
  Precision precision = Precision::f32;
  int rows = 0, cols = 0;
  const std::byte* data = nullptr;  // panels of kDenseLanes columns
  int64_t panel_bytes = 0;
};

// What packing [rows][cols] takes at most, on any instruction set; a multiple of 64.
int64_t packed_bytes(int rows, int cols);
// b, by the calling thread alone. memory: packed_bytes of it, aligned to 64.
PackedMatrix pack_here(const Kernels& kernels, Precision precision, const MatrixView& b, std::byte* memory);

// Several products at once: of the heads of an attention, or of experts. None may write what another one
// reads or writes. Threads wait for each other once in many products.
struct MatrixProduct {
  MatrixView a, b;
  float* out;  // [a.rows][b.cols], row i at out + i * stride
  int64_t stride;
  bool add = false;
  // In b's place, of the same precision; of b only rows and cols are looked at, and they may be fewer: the
  // first rows and columns are taken. An odd number of rows wants the next one to be finite.
  const PackedMatrix* packed = nullptr;
};
void matmul(const Context& ctx, Precision precision, std::span<const MatrixProduct> products);

// One product by the calling thread alone, to the same bits: for what runs inside a region of the pool. Packs
// its operands whole.
void matmul_here(const Kernels& kernels, Precision precision, const MatrixProduct& product);

}  // namespace minke
