#pragma once
// Sets of f32 numbers in the shape of a model: master weights, gradients, moments. All lie in one piece of
// memory, so that what goes over all of them need not know the model.

#include <functional>
#include <span>

#include "base/memory.h"
#include "model/load.h"
#include "model/weights.h"

namespace minke {

using ChosenWeights = std::function<bool(const WeightSlot&)>;

// A weight of a set, as something to write to; null where it is not in the set.
inline float* data(const Mat& m) { return const_cast<float*>(m.f32()); }

class Parameters {
 public:
  Parameters() = default;
  // Zeroes. Weights that are not chosen (null: all are) take no memory, and their Mats are null.
  explicit Parameters(const Config& config, const ChosenWeights& chosen = {});

  const Weights& weights() const { return weights_; }
  // All numbers, with zeroes between the weights: each begins at a cache line.
  std::span<float> values() const {
    return {memory_.as<float>(), static_cast<size_t>(memory_.size()) / sizeof(float)};
  }
  int64_t count() const { return count_; }  // numbers, without what lies between

 private:
  Weights weights_;
  Memory memory_;
  int64_t count_ = 0;
};

// Numbers that a weight takes in such a set, up to where the next begins.
int64_t padded_count(const WeightSlot& slot);

std::string describe(const WeightSlot& slot);  // "gate of layer 3, expert 5"

// Bytes of such a set, for plans.
int64_t parameter_bytes(const Config& config, const ChosenWeights& chosen = {});

// The weights of a loaded model, widened to f32. Throws Error naming a weight with numbers that are not
// finite.
Parameters parameters_of(const Model& model, const ChosenWeights& chosen = {});

// Random ones to begin with: matrices normal with this deviation, norms 1, biases 0. A weight's numbers
// follow from (seed, its place in the list) alone.
Parameters random_parameters(const Config& config, float deviation, uint64_t seed,
                             const ChosenWeights& chosen = {});

// f(slot, a, b): the weights of two sets over one config, in step.
template <typename F>
void for_each_pair(const Config& config, const Weights& a, const Weights& b, const F& f) {
  Weights first = a, second = b;  // views only
  std::vector<Mat> mats;
  for_each_weight(config, first, [&](const WeightSlot&, Mat& m) { mats.push_back(m); });
  size_t i = 0;
  for_each_weight(config, second, [&](const WeightSlot& slot, Mat& m) { f(slot, mats[i++], m); });
}

}  // namespace minke
