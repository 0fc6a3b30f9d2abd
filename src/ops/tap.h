#pragma once
// A look at named tensors as they pass through a forward pass.

#include <cstdint>
#include <string_view>

#include "ops/linear.h"

namespace minke {

// Rows are those of the batch, in its order. Names and shapes are those of tests/golden/README.md without the
// layer's number: "hidden" (layer 0 is the embedding), "final_norm", "logits", "router_topk",
// "router_weights", "indexer_topk", "indexer_scores", "mtp_hidden", "mtp_logits"; "router_logits" beside
// those. Called on the thread that runs the pass, between operations.
class Tap {
 public:
  virtual ~Tap() = default;
  virtual void floats(std::string_view name, int layer, const Rows& rows) = 0;
  virtual void integers(std::string_view name, int layer, const int32_t* data, int rows, int cols) = 0;
  // Rows that are about to be multiplied by w, one of the model's weights: its bytes tell which. Of a stack
  // of matrices, one for each head, those that meet matrix `part`.
  virtual void product(const Mat& /*w*/, int /*part*/, const Rows& /*x*/) {}
};

}  // namespace minke
