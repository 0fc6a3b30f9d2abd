#pragma once
// A training pass: losses of a batch, and their gradients by everything that is trained. Why it is not the
// one forward of serving: docs/decisions/training_forward.md.

#include <functional>

#include "train/batch.h"
#include "train/layer.h"

namespace minke {

// Tokens each expert of each layer met: [layers][E], the MTP layer last; empty vectors where a layer is
// dense.
using ExpertLoads = std::vector<std::vector<int64_t>>;
ExpertLoads no_loads(const Config& config, bool mtp);

// What becomes complete together on the way back: a layer (by its number), the head with the norm before it,
// the embedding.
inline int head_unit(const Config& config) { return config.layers + config.mtp_layers; }
inline int embedding_unit(const Config& config) { return head_unit(config) + 1; }

struct PassOptions {
  Precision precision = Precision::f32;
  Objective objective = {};
  std::function<void(int unit)> complete = {};  // told when this pass has added all its gradients of a unit
};

// Adds the batch's gradients to the trainee's, and the tokens its experts met to loads (or null). Rows up to
// state.limits. Returns the batch's share of the losses.
Losses train_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee, TrainState& state,
                  const TrainBatch& batch, ExpertLoads* loads = nullptr);

// The losses alone.
Losses evaluate_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee,
                     TrainState& state, const TrainBatch& batch);

// Logits [rows][vocab] of the batch, for tests and comparisons.
std::vector<float> logits_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee,
                               TrainState& state, const TrainBatch& batch);

}  // namespace minke
