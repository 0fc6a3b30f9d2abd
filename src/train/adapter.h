#pragma once
// Training of adapters: y = W x + alpha / rank B (A x), W frozen (LoRA, Hu et al. 2021).

#include <algorithm>
#include <vector>

#include "base/memory.h"
#include "model/adapters.h"
#include "ops/projection.h"

namespace minke {

struct LoraConfig {
  int rank = 0;  // 0: none
  double alpha = 0;
  std::vector<Role> targets = {Role::wq, Role::wv};  // of the matrices that can have one
  float scale() const { return static_cast<float>(alpha / rank); }
  bool targets_matrix(const AdaptedMatrix& matrix) const {
    return std::ranges::find(targets, matrix.role) != targets.end();
  }
};

// Adapters of every layer, or as many numbers of another kind (their gradients, moments), in one piece of
// memory.
class Adapters {
 public:
  Adapters() = default;
  Adapters(const Config& config, const LoraConfig& lora);  // zeroes

  const std::vector<LayerAdapters>& layers() const { return layers_; }
  std::span<float> values() const {
    return {memory_.as<float>(), static_cast<size_t>(memory_.size()) / sizeof(float)};
  }

 private:
  std::vector<LayerAdapters> layers_;
  Memory memory_;
};

// Of one such set, for plans.
int64_t adapter_bytes(const Config& config, const LoraConfig& lora);

// f(layer, matrix, adapter) for every adapter of a set, in the order in which they lie.
template <typename F>
void for_each_adapter(const Adapters& adapters, const F& f) {
  for (size_t layer = 0; layer < adapters.layers().size(); ++layer)
    for (const AdaptedMatrix& matrix : adapted_matrices())
      if (const Adapter& adapter = adapters.layers()[layer].*matrix.adapter; adapter)
        f(static_cast<int>(layer), matrix, adapter);
}

// A as PEFT begins (uniform within 1 / sqrt(in)), B 0: the model is as it was.
Adapters random_adapters(const Config& config, const LoraConfig& lora, uint64_t seed);

// Memory of a call: [rows][rank] each.
struct AdapterScratch {
  float *adapted, *dadapted;
};

// out += scale B (A x).
void adapt(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter, float* adapted,
           float* out, int64_t stride);
// dx += what goes back through the adapter; gradient += that by a and b.
void adapt_backward(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter,
                    const Adapter& gradient, const AdapterScratch& scratch, const Rows& dy, float* dx,
                    int64_t dx_stride);

// W += scale B A, for adapters that are to become part of the model.
void merge_adapters(const Context& ctx, const Adapters& adapters, const Weights& weights);

}  // namespace minke
