#pragma once
// A loaded model with everything a forward pass needs around it.

#include <optional>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "model/forward.h"
#include "model/load.h"

namespace minke {

struct InstanceOptions {
  Limits limits;                  // threads 0: one per usable core; wide is worked out here
  std::optional<Isa> isa;         // the widest supported where not given
  bool round_activations = true;  // before they meet weights, as grain_for says
  ExpertSource* experts =
      nullptr;  // where experts come from, instead of the model's own weights; outlives the instance
};

// Owns threads, cache and buffers; the model must outlive it. Not movable: the parts point at each other.
class Instance {
 public:
  Instance(const Model& model, InstanceOptions options);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const Model& model() const { return model_; }
  const Config& config() const { return config_; }  // as_run: without an MTP layer that does not run
  const Context& context() const { return context_; }
  State& state() { return state_; }
  KvPool& kv() { return kv_; }

  void forward(const Batch& batch, Tap* tap = nullptr);
  void forward_mtp(const Batch& batch, Tap* tap = nullptr);

 private:
  const Model& model_;
  Config config_;
  ThreadPool pool_;
  Context context_;
  PlainExperts experts_;
  KvPool kv_;
  State state_;
};

// The limits an instance of this model works with: threads counted, wide worked out.
Limits resolved_limits(const Model& model, const InstanceOptions& options);
int pages_for(const Limits& limits);  // of the cache

}  // namespace minke
