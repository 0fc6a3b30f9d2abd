#pragma once
// What the model knows: matrices by role.

#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "ops/experts.h"
#include "quant/mat.h"

namespace minke {

// What a weight is for. Files name it differently (roles.h); everything else goes by the role.
enum class Role : uint8_t {
  embed,
  output_norm,
  head,
  attn_norm,
  wq,
  wk,
  wv,
  wo,
  bq,
  bk,
  bv,
  bo,
  wq_a,
  q_a_norm,
  wq_b,
  wkv_a,
  kv_a_norm,
  k_b,
  v_b,
  index_q,
  index_k,
  index_k_norm,
  index_k_bias,
  index_weights,
  ffn_norm,
  gate,
  up,
  down,
  router,
  router_bias,
  shared_gate,
  shared_up,
  shared_down,
  expert_gate,
  expert_up,
  expert_down,
  mtp_proj,
  mtp_embed_norm,
  mtp_hidden_norm,
  mtp_norm,
};
const char* name(Role role);

// D dim, H heads, I inter. Vectors are matrices of one row, always f32.
struct LayerWeights {
  Mat attn_norm, ffn_norm;  // [D]
  Mat wo;                   // [D][H * v]
  Mat bo;                   // [D] or none
  // GQA
  Mat wq, wk, wv;  // [H * head_dim][D], [kv_heads * head_dim][D] twice; without q_lora wq is MLA's as well
  Mat bq, bk, bv;  // their rows, or none
  // MLA
  Mat wq_a, q_a_norm;    // [q_lora][D], [q_lora]
  Mat wq_b;              // [H * (nope + rope)][q_lora]
  Mat wkv_a, kv_a_norm;  // [kv_lora + rope][D], [kv_lora]
  Mat k_b;               // [H * kv_lora][nope]: head h's part of kv_b for keys, transposed
  Mat v_b;               // [H * v][kv_lora]
  // Sparse attention
  Mat index_q;                              // [heads * width][q_lora]
  Mat index_k, index_k_norm, index_k_bias;  // [width][D], [width] twice
  Mat index_weights;                        // [heads][D]
  // Dense
  Mat gate, up, down;  // [I][D] twice, [D][I]
  // Experts
  Mat router, router_bias;  // [E][D], [E] or none
  Mat shared_gate, shared_up, shared_down;
  std::vector<Expert> experts;  // [E]
  // MTP layers
  Mat mtp_proj;                                   // [D][2 D], embedding half first
  Mat mtp_embed_norm, mtp_hidden_norm, mtp_norm;  // [D]
};

// What is added to products of a layer of Llama or Qwen2 (adapters.h).
struct LayerAdapters {
  Adapter wq, wk, wv, wo, gate, up, down;
};

struct Weights {
  Mat embed;                            // [vocab][D]
  Mat output_norm;                      // [D]
  Mat head;                             // [vocab][D]; the embedding itself where tied
  std::vector<LayerWeights> layers;     // MTP layers last
  std::vector<LayerAdapters> adapters;  // of each layer, or none at all
};

// One weight as a visitor sees it: where it goes, and the shape it must have.
struct WeightSlot {
  Role role;
  int layer = -1, expert = -1;
  int rows = 0, cols = 0;
  bool vector = false;
  int64_t count() const { return int64_t{rows} * cols; }
};

// f(WeightSlot, Mat&) for every weight of the config, in the order a forward pass uses them. Gives `weights`
// its layers and experts.
template <typename F>
void for_each_weight(const Config& config, Weights& weights, F&& f);

// f(WeightSlot) alone, for counting and planning.
template <typename F>
void for_each_weight(const Config& config, F&& f);

// Experts that lie in memory or in mapped files.
class PlainExperts : public ExpertSource {
 public:
  explicit PlainExperts(const Weights& weights) : weights_(weights) {}
  void want(int, std::span<const int32_t>) override {}
  const Expert& get(int layer, int expert) override {
    return weights_.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)];
  }
  void done(int) override {}

 private:
  const Weights& weights_;
};

}  // namespace minke

#include "model/weights-inl.h"
