#pragma once
// Adapters (LoRA) beside the weights of Llama and Qwen2 models, from folders as PEFT and `minke train` write
// them (docs/running.md).

#include <span>
#include <string_view>

#include "model/load.h"

namespace minke {

constexpr int kMostAdapterRank = 4096;

// A matrix of a layer that can have one, and its name in Hugging Face models.
struct AdaptedMatrix {
  Role role;
  std::string_view block, name;  // "self_attn", "q_proj"
  Mat LayerWeights::* weight;
  Adapter LayerAdapters::* adapter;
};
std::span<const AdaptedMatrix> adapted_matrices();
const AdaptedMatrix* adapted_matrix(std::string_view name);  // of "q_proj"; null: no such matrix
std::string adapted_names();                                 // "q_proj, k_proj, ..."

// [out][in] of the matrix, the same in every layer.
struct MatrixShape {
  int out, in;
};
MatrixShape shape_of(const Config& config, const AdaptedMatrix& matrix);

// Whether all layers have the matrices above, and only those.
bool takes_adapters(const Config& config);
// The largest rank among the adapters; 0 where there are none.
int largest_rank(const Weights& weights);

// Puts the adapters of a folder with adapter_config.json and adapter_model.safetensors beside the model's
// weights, in memory that counts as made at load. `options` as the model was loaded with: a dry run makes
// nothing. Throws Error naming file, and field or tensor: what is not computed here (DoRA, biases, modules
// saved whole, ranks that differ), another model's shapes, a missing matrix, numbers that are not finite.
void load_adapters(Model& model, const fs::path& folder, const LoadOptions& options);

}  // namespace minke
