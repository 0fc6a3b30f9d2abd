#pragma once
// What goes back through the operations of ops/rows.h and through the embedding. dy is the gradient by an
// output; gradients by weights are added to, in the order of the rows, whatever the threads.

#include <span>

#include "ops/rows.h"

namespace minke {

// dx[r] += gradient by x[r]; dw [cols] += gradient by w, or null. w not null.
void rmsnorm_backward(const Context& ctx, const Rows& x, const float* w, float eps, const Rows& dy, float* dx,
                      int64_t dx_stride, float* dw);

// dx[r] = gradient by x[r] (dx may be dy's memory); dw, db [cols] += their gradients.
void layernorm_backward(const Context& ctx, const Rows& x, const float* w, float eps, const Rows& dy,
                        float* dx, int64_t dx_stride, float* dw, float* db);

// Turns back what rope turned: the gradient of a rotation is the rotation by the opposite angles.
void rope_backward(const Context& ctx, const Rotation& rotation, float* dx, int rows, int64_t stride,
                   int heads, int64_t head_stride);

// dgate, dup from gate, up and dy, all [rows][cols]; dup may be dy's memory.
void silu_mul_backward(const Context& ctx, const float* gate, const float* up, const float* dy, int rows,
                       int cols, float* dgate, float* dup);

// table[tokens[r]] += dx[r]; table [vocab][dx.cols]. Tokens below 0 have no row.
void embedding_backward(const Context& ctx, std::span<const int32_t> tokens, const Rows& dx, float* table);

}  // namespace minke
