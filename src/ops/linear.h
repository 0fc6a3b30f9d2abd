#pragma once
// Products with weight matrices: y = W x for every row x of a batch.

#include <span>

#include "ops/context.h"
#include "ops/workspace.h"
#include "quant/mat.h"

namespace minke {

// [count][cols] f32, row r at data + r * stride.
struct Rows {
  const float* data = nullptr;
  int64_t stride = 0;
  int count = 0, cols = 0;
};

// What is added to a product: scale B (A x) (LoRA, Hu et al. 2021). Matrices in f32 or 16-bit floats.
struct Adapter {
  Mat a;  // [rank][in]
  Mat b;  // [out][rank]
  float scale = 1;
  int rank() const { return a.rows; }
  explicit operator bool() const { return a.rows > 0; }
};

// One product of the rows a call is given.
struct Product {
  const Mat* w;  // [out][x.cols]
  float* out;    // [count][out], row r at out + r * stride
  int64_t stride;
  const float* bias = nullptr;  // [out]
  bool add = false;             // to what out holds
  bool exact = false;           // activations stay f32 whatever the context says (routers)
  const Adapter* adapter = nullptr;
};

constexpr int kMostAdapted = 3;  // products of one call that have an adapter
// All products of the same rows at once: activations are prepared once, and no thread waits between matrices.
// What adapters add comes last, from f32 activations.
void linear(const Context& ctx, const Workspace& work, const Rows& x, std::span<const Product> products);
inline void linear(const Context& ctx, const Workspace& work, const Rows& x, const Product& product) {
  linear(ctx, work, x, std::span(&product, 1));
}

// gate.out = silu(gate) * up of the same rows, where what gate.w and up.w give stays in a thread's cache
// until they meet. Neither has a bias nor is added; up.out may be used on the way.
void gated_linear(const Context& ctx, const Workspace& work, const Rows& x, const Product& gate,
                  const Product& up);
// The same of rows [first, first + count) of both, by one thread: to out[t * stride + r - first].
void multiply_gated(const Context& ctx, const Workspace& work, const Mat& gate, const Mat& up, int first,
                    int count, const Operand& x, float* out, int64_t stride, int thread);

// For every head h: out[r][h] = W[h] . x[r][h], where W[h] is rows [h * out_cols, (h + 1) * out_cols) of w,
// x[r][h] the w.cols numbers at x + r * x_stride + h * x_head, and out[r][h] the out_cols numbers at out + r
// * out_stride + h * out_head.
struct HeadProduct {
  const Mat* w;
  int heads, out_cols;
  const float* x;
  int64_t x_stride, x_head;
  float* out;
  int64_t out_stride, out_head;
};
void head_linear(const Context& ctx, const Workspace& work, int rows, const HeadProduct& product);

// What an operand of `rows` rows needs at most; wide: f32 operands are possible.
int64_t operand_bytes_at_most(int64_t rows, int cols, bool wide);
// What a thread needs for gemm, for products that stay with it (gated ones, those of experts), and for
// head_linear.
int64_t linear_scratch_bytes(int rows, int head_cols, bool wide);

Grain grain_of(const Context& ctx, const Mat& w, bool exact = false);

}  // namespace minke
