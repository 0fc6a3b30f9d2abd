#include "model/instance.h"

#include <algorithm>

#include "kernels/isas.h"
#include "model/adapters.h"

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

// Where weights were spread over NUMA nodes, threads stay on theirs.
bool on_nodes(const Model& model, const InstanceOptions& options) {
  return model.placement.machine &&
         static_cast<int>(model.placement.node_of_thread.size()) >= resolved_limits(model, options).threads;
}

std::vector<std::vector<int>> processors_for(const Model& model, const InstanceOptions& options) {
  std::vector<std::vector<int>> cpus;
  if (!on_nodes(model, options)) return cpus;
  for (const int node : model.placement.node_of_thread)
    cpus.push_back(model.placement.machine->nodes()[static_cast<size_t>(node)].cpus);
  return cpus;
}

const Replicas* replicas_for(const Model& model, const InstanceOptions& options) {
  return on_nodes(model, options) && !model.placement.replicas.parts.empty() ? &model.placement.replicas
                                                                             : nullptr;
}

}  // namespace

Limits resolved_limits(const Model& model, const InstanceOptions& options) {
  Limits limits = options.limits;
  if (limits.threads <= 0) limits.threads = usable_cores();
  limits.adapter_rank = largest_rank(model.weights);
  limits.wide = !options.round_activations || limits.adapter_rank > 0 || has_float_matrices(model);
  if (model.config.mla) {  // as the activations are: to 8 bits, or not at all
    const bool rounded =
        options.round_activations && model.config.mla->kv_lora % info(Format::q8_0).block == 0;
    limits.k_nope_format = rounded ? Format::q8_0 : Format::f32;
    limits.wide = limits.wide || (limits.decompress && !rounded);
  }
  return limits;
}

int pages_for(const Limits& limits) {
  // A sequence's last page is half empty on average, and never shared.
  return (limits.context + kPageTokens - 1) / kPageTokens + limits.sequences - 1;
}

Instance::Instance(const Model& model, InstanceOptions options)
    : model_(model),
      config_(as_run(model.config, options.limits)),
      pool_(resolved_limits(model, options).threads, processors_for(model, options)),
      context_{pool_, kernels_for(options.isa.value_or(usable_isas().back())), Comm{},
               options.round_activations, replicas_for(model, options)},
      experts_(model.weights),
      kv_(kv_layout(config_, options.limits.kv), pages_for(options.limits)),
      state_(make_state(config_, resolved_limits(model, options), kv_,
                        options.experts ? *options.experts : experts_)) {
  // The cache has not been touched yet; the scratch of each thread is touched by that thread first.
  if (model.placement.machine) model.placement.machine->spread(kv_.storage());
  if (!state_.k_nope) return;
  for (int layer = 0; layer < config_.layers + config_.mtp_layers; ++layer)
    transpose_heads(context_, model.weights.layers[static_cast<size_t>(layer)].k_b, config_.heads,
                    k_nope_of(config_, state_, layer));
}

void Instance::forward(const Batch& batch, Tap* tap) {
  minke::forward(context_, config_, model_.weights, state_, batch, tap);
}

void Instance::forward_mtp(const Batch& batch, Tap* tap) {
  minke::forward_mtp(context_, config_, model_.weights, state_, batch, tap);
}

}  // namespace minke
