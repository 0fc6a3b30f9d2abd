#include "model/instance.h"

#include <algorithm>

namespace minke {
namespace {

// Whether some product of the model takes f32 activations.
bool has_float_matrices(const Model& model) {
  bool found = false;
  Weights weights = model.weights;  // views only
  for_each_weight(model.config, weights, [&](const WeightSlot& slot, Mat& m) {
    const bool looked_up = slot.role == Role::embed && !model.config.tied;
    if (!slot.vector && !looked_up && slot.role != Role::router) found = found || info(m.format).block == 1;
  });
  return found;
}

}  // namespace

Limits resolved_limits(const Model& model, const InstanceOptions& options) {
  Limits limits = options.limits;
  if (limits.threads <= 0) limits.threads = usable_cores();
  limits.wide = !options.round_activations || has_float_matrices(model);
  return limits;
}

int pages_for(const Limits& limits) {
  // A sequence's last page is half empty on average, and never shared.
  return (limits.context + kPageTokens - 1) / kPageTokens + limits.sequences - 1;
}

Instance::Instance(const Model& model, InstanceOptions options)
    : model_(model),
      config_(as_run(model.config, options.limits)),
      pool_(resolved_limits(model, options).threads),
      context_{pool_, kernels_for(options.isa.value_or(supported_isas().back())), Comm{},
               options.round_activations},
      experts_(model.weights),
      kv_(kv_layout(config_, options.limits.kv), pages_for(options.limits)),
      state_(make_state(config_, resolved_limits(model, options), kv_,
                        options.experts ? *options.experts : experts_)) {}

void Instance::forward(const Batch& batch, Tap* tap) {
  minke::forward(context_, config_, model_.weights, state_, batch, tap);
}

void Instance::forward_mtp(const Batch& batch, Tap* tap) {
  minke::forward_mtp(context_, config_, model_.weights, state_, batch, tap);
}

}  // namespace minke
