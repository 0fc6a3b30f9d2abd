#include "train/parameters.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace minke {
namespace {

constexpr int64_t kLine = 16;  // f32 of a cache line

bool is_bias(Role role) {
  return role == Role::bq || role == Role::bk || role == Role::bv || role == Role::bo ||
         role == Role::index_k_bias || role == Role::router_bias;
}

}  // namespace

int64_t padded_count(const WeightSlot& slot) { return (slot.count() + kLine - 1) / kLine * kLine; }

std::string describe(const WeightSlot& slot) {
  std::string text = name(slot.role);
  if (slot.layer >= 0) text += fmt::format(" of layer {}", slot.layer);
  if (slot.expert >= 0) text += fmt::format(", expert {}", slot.expert);
  return text;
}

Parameters::Parameters(const Config& config, const ChosenWeights& chosen) {
  memory_ = Memory(std::max<int64_t>(parameter_bytes(config, chosen), 64), "parameters");
  float* next = memory_.as<float>();
  for_each_weight(config, weights_, [&](const WeightSlot& slot, Mat& m) {
    m = {nullptr,   nullptr,   Format::f32,
         slot.rows, slot.cols, slot.cols * static_cast<int64_t>(sizeof(float))};
    if (chosen && !chosen(slot)) return;
    m.data = reinterpret_cast<const std::byte*>(next);
    next += padded_count(slot);
    count_ += slot.count();
  });
  if (config.tied) weights_.head = weights_.embed;
}

int64_t parameter_bytes(const Config& config, const ChosenWeights& chosen) {
  int64_t numbers = 0;
  for_each_weight(config, [&](const WeightSlot& slot) {
    if (!chosen || chosen(slot)) numbers += padded_count(slot);
  });
  return numbers * static_cast<int64_t>(sizeof(float));
}

Parameters parameters_of(const Model& model, const ChosenWeights& chosen) {
  Parameters parameters(model.config, chosen);
  for_each_pair(
      model.config, model.weights, parameters.weights(),
      [&](const WeightSlot& slot, const Mat& from, const Mat& to) {
        if (!to) return;
        for (int64_t r = 0; r < slot.rows; ++r) dequantize_row(from, r, data(to) + r * slot.cols);
        if (!std::all_of(to.f32(), to.f32() + slot.count(), [](float v) { return std::isfinite(v); }))
          throw Error(fmt::format("{} has numbers that are not finite", describe(slot)), model.path.string(),
                      "the file is damaged, or training had failed");
      });
  return parameters;
}

Parameters random_parameters(const Config& config, float deviation, uint64_t seed,
                             const ChosenWeights& chosen) {
  Parameters parameters(config, chosen);
  Weights weights = parameters.weights();  // views only
  uint64_t place = 0;
  for_each_weight(config, weights, [&](const WeightSlot& slot, Mat& m) {
    Random random(seed, place++);
    if (!m) return;
    for (int64_t i = 0; i < slot.count(); ++i)
      data(m)[i] = slot.vector ? (is_bias(slot.role) ? 0.0f : 1.0f) : deviation * random.normal();
  });
  return parameters;
}

}  // namespace minke
