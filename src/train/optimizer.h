#pragma once
// AdamW with decoupled decay (Loshchilov and Hutter, 2019), over everything that is trained.

#include <string>
#include <vector>

#include "train/layer.h"
#include "train/parameters.h"

namespace minke {

struct AdamW {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double decay = 0.1;  // of matrices; norms and biases have none
  double clip = 1;     // gradients' norm at most; 0: any
};

struct MatrixSize {
  int rows = 0, cols = 0;
  int64_t count() const { return int64_t{rows} * cols; }
};

// One tensor in step with its gradient and moments, all of one size.
struct TrainedTensor {
  std::string name;                           // "wq of layer 3"
  float *weight, *gradient, *first, *second;  // second: null where Muon moves it
  MatrixSize size;                            // of a vector: one row
  bool decays;
  bool hidden = false;  // a matrix between the embedding and the head, and no router
  int slot = -1;        // its weight's place among all of the config
  int64_t offset = 0;   // of a part: its first number in that weight
  int64_t count() const { return size.count(); }
};

// Whether a weight is one, for plans.
inline bool is_hidden_matrix(const WeightSlot& slot) {
  return slot.layer >= 0 && !slot.vector && slot.role != Role::router;
}

// The weights that have a gradient. The sets share one config.
std::vector<TrainedTensor> trained_tensors(const Config& config, const Weights& weights,
                                           const Weights& gradients, const Weights& first,
                                           const Weights& second);
std::vector<TrainedTensor> trained_tensors(const Adapters& adapters, const Adapters& gradients,
                                           const Adapters& first, const Adapters& second);

// The sum of all gradients' squares, in one order whatever the threads; and its square root.
double gradient_squares(const Context& ctx, std::span<const TrainedTensor> tensors);
double gradient_norm(const Context& ctx, std::span<const TrainedTensor> tensors);

// What gradients are multiplied by so that their norm is `clip` at most: min(1, clip / (norm + 1e-6)).
double clip_factor(const AdamW& options, double norm);

// Step number `step` (the first is 1); gradients times `factor`.
void adamw_step(const Context& ctx, const AdamW& options, double rate, int64_t step, double factor,
                std::span<const TrainedTensor> tensors);

}  // namespace minke
