#pragma once
// For tests of training: golden data, and everything a pass needs in one place.

#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "base/json.h"
#include "formats/safetensors.h"
#include "formats/test_files.h"
#include "kernels/isas.h"
#include "model/load.h"
#include "train/optimizer.h"
#include "train/pass.h"

namespace minke {

inline fs::path golden(std::string_view name) { return fs::path(MINKE_TESTS_DIR "/golden") / name; }

inline const TensorView& tensor(const Safetensors& file, const std::string& name) {
  const TensorView* t = file.tensor(name);
  if (!t) throw Error("is missing", name);
  return *t;
}
inline std::vector<float> floats(const Safetensors& file, const std::string& name) {
  return to_floats(tensor(file, name));
}
inline std::vector<int64_t> integers(const Safetensors& file, const std::string& name) {
  return to_integers(tensor(file, name));
}

// Rows of ids [sequences][length], each one document, all predictions counted.
inline TrainBatch batch_of(const Safetensors& file, const std::string& name) {
  const TensorView& ids = tensor(file, name);
  const std::vector<int64_t> all = to_integers(ids);
  const int length = static_cast<int>(ids.shape.back());
  TrainBatch batch;
  for (size_t at = 0; at < all.size(); at += static_cast<size_t>(length)) {
    std::vector<Token> tokens(all.begin() + static_cast<int64_t>(at),
                              all.begin() + static_cast<int64_t>(at) + length);
    const std::vector<uint8_t> loss(tokens.size(), 1);
    add_sequence(batch, length, tokens, std::vector<int32_t>{0}, loss);
  }
  return batch;
}

// A model in training, with gradients and moments of what is chosen.
struct TestTrainer {
  TestTrainer(const Config& c, Parameters start, const TrainLimits& limits, const ChosenWeights& chosen,
              int threads = 2)
      : config(c),
        pool(threads),
        ctx{pool, kernels_for(usable_isas().back()), Comm{}},
        parameters(std::move(start)),
        gradients(c, chosen),
        first(c, chosen),
        second(c, chosen),
        state(make_train_state(c, with_threads(limits, threads))),
        tensors(trained_tensors(c, parameters.weights(), gradients.weights(), first.weights(),
                                second.weights())) {}

  static TrainLimits with_threads(TrainLimits limits, int threads) {
    limits.threads = threads;
    return limits;
  }
  Trainee trainee() const { return {config, parameters.weights(), gradients.weights()}; }
  Losses pass(const PassOptions& options, const TrainBatch& batch, ExpertLoads* loads = nullptr) {
    std::ranges::fill(gradients.values(), 0.0f);
    return train_pass(ctx, options, trainee(), state, batch, loads);
  }

  const Config config;
  ThreadPool pool;
  Context ctx;
  Parameters parameters, gradients, first, second;
  TrainState state;
  std::vector<TrainedTensor> tensors;
};

// Weights of the language model: no bias of routers, nothing of the indexer.
inline bool is_language_weight(const WeightSlot& slot) {
  switch (slot.role) {
    case Role::router_bias:
    case Role::index_q:
    case Role::index_k:
    case Role::index_k_norm:
    case Role::index_k_bias:
    case Role::index_weights: return false;
    default: return true;
  }
}

// max|a - b|, and the largest |b|.
struct Distance {
  double difference = 0, largest = 0;
};
inline Distance distance(std::span<const float> a, std::span<const float> b) {
  Distance d;
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    d.difference = std::max(d.difference, std::abs(double{a[i]} - b[i]));
    if (std::isnan(a[i])) d.difference = INFINITY;
    d.largest = std::max(d.largest, std::abs(double{b[i]}));
  }
  return d;
}

// A weight's numbers as the Hugging Face folder has them: kv_b is put together from its two parts.
inline std::vector<float> as_published(const Config& c, const LayerWeights& layer, const WeightSlot& slot,
                                       const Mat& m) {
  if (slot.role != Role::k_b) return {m.f32(), m.f32() + slot.count()};
  const MlaConfig& mla = *c.mla;
  std::vector<float> out;
  for (int h = 0; h < c.heads; ++h) {
    for (int i = 0; i < mla.nope; ++i)
      for (int j = 0; j < mla.kv_lora; ++j) out.push_back(m.f32()[(h * mla.kv_lora + j) * mla.nope + i]);
    const float* v = layer.v_b.f32() + int64_t{h} * mla.v * mla.kv_lora;
    out.insert(out.end(), v, v + int64_t{mla.v} * mla.kv_lora);
  }
  return out;
}

// f(name in the folder, numbers) for every weight that is there.
template <typename F>
void for_each_published(const Config& c, const Weights& set, const F& f) {
  Weights weights = set;  // views only
  for_each_weight(c, weights, [&](const WeightSlot& slot, Mat& m) {
    if (!m || slot.role == Role::v_b) return;
    const LayerWeights none;
    const LayerWeights& layer = slot.layer < 0 ? none : set.layers[static_cast<size_t>(slot.layer)];
    f(sources_of(c, slot, Container::hugging_face).front().name, as_published(c, layer, slot, m));
  });
}

}  // namespace minke
