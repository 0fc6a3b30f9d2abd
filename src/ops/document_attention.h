#pragma once
// Attention of training: over rows that lie one after the other, every token seeing the earlier tokens of its
// own document. Probabilities are never all there: a tile of queries meets all its keys, and going back makes
// them anew.

#include <span>

#include "ops/attention.h"
#include "ops/context.h"
#include "ops/matmul.h"
#include "ops/workspace.h"

namespace minke {

// Rows [first, first + count) of a batch, at positions 0, 1, ...
struct Document {
  int first, count;
};

struct DocumentShape {
  int heads, kv_heads;  // head h reads kv head h / (heads / kv_heads)
  int key_width, value_width;
  float scale;  // of q . k
  std::span<const Document> documents;
  const Selection* selection = nullptr;  // which positions of its document a row sees; null: all up to itself
  Precision precision = Precision::f32;  // of the products; probabilities and sums are f32 either way
};

// out[r][h] = sum over visible s of softmax_s(scale q[r][h] . k[s]) v[s]. q [rows][heads][key_width], k
// [rows][kv_heads][key_width], v [rows][kv_heads][value_width], out [rows][heads][value_width]. Rows of no
// document are left alone.
void document_attention(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                        const float* k, const float* v, float* out);

// The gradients by q, k and v; rows of no document are left alone.
void document_attention_backward(const Context& ctx, const Workspace& work, const DocumentShape& shape,
                                 const float* q, const float* k, const float* v, const float* dout, float* dq,
                                 float* dk, float* dv);

// mass[r * stride + s] = sum over heads of the probability with which row r sees position s, 0 for those it
// does not see: what the indexer is to learn (MODEL.md 6.4). stride is at least the longest document's.
void attention_mass(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                    const float* k, float* mass, int64_t stride);

// Scratch a thread needs, for documents up to so many tokens.
int64_t document_attention_scratch(int key_width, int value_width, int longest);

}  // namespace minke
