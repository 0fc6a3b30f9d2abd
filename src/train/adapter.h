#pragma once
// LoRA: y = W x + alpha / rank B (A x), W frozen (Hu et al. 2021).

#include <string>
#include <vector>

#include "base/memory.h"
#include "model/weights.h"
#include "ops/projection.h"

namespace minke {

struct LoraConfig {
  int rank = 0;  // 0: none
  double alpha = 0;
  float scale() const { return static_cast<float>(alpha / rank); }
};

// Of one matrix [out][in]; without data there is none.
struct Adapter {
  Mat a;  // [rank][in]
  Mat b;  // [out][rank]
};

struct LayerAdapters {
  Adapter q, v;  // of wq and wv
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

// A as PEFT begins (uniform within 1 / sqrt(in)), B 0: the model is as it was.
Adapters random_adapters(const Config& config, const LoraConfig& lora, uint64_t seed);

// Memory of a call: [rows][rank] each.
struct AdapterScratch {
  float *adapted, *dadapted;
};

// out += scale B (A x).
void adapt(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter, float scale,
           float* adapted, float* out, int64_t stride);
// dx += what goes back through the adapter; gradient += that by a and b.
void adapt_backward(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter,
                    const Adapter& gradient, float scale, const AdapterScratch& scratch, const Rows& dy,
                    float* dx, int64_t dx_stride);

// W += scale B A, for adapters that are to become part of the model.
void merge_adapters(const Context& ctx, const Config& config, const LoraConfig& lora,
                    const Adapters& adapters, const Weights& weights);

}  // namespace minke
