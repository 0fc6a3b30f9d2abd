#pragma once
// Memory of a training pass: what each layer keeps for the way back, and what all share. Sized at start; a
// pass allocates nothing that grows with it.

#include <vector>

#include "base/memory.h"
#include "model/config.h"
#include "ops/expert_training.h"
#include "ops/workspace.h"

namespace minke {

struct TrainLimits {
  int rows = 0;     // tokens of one pass
  int longest = 0;  // tokens of one document
  int threads = 1;
  bool mtp = false;        // the layer for multi-token prediction runs as well
  bool recompute = false;  // a layer keeps its input only, and is run again on the way back
  bool indexer = false;    // indexer and sparse attention run
  int adapter_rank = 0;    // of LoRA
  bool reference = false;  // the model without adapters runs beside
  int expert_ranks = 1;    // that the experts are divided over
};

// T rows, D dim, H heads. What an architecture has no use for is null.
struct LayerKept {
  float* input = nullptr;     // [T][D] the residual stream before the layer
  float* attn_in = nullptr;   // [T][D] normed
  float* q = nullptr;         // [T][H][head_dim], MLA [T][H][nope + rope], turned
  float* k = nullptr;         // [T][kv_heads][head_dim], MLA [T][H][nope + rope], turned
  float* v = nullptr;         // [T][kv_heads][head_dim], MLA [T][H][v]
  float* attended = nullptr;  // [T][H][v]
  float* q_down = nullptr;    // [T][q_lora], and after its norm:
  float* q_latent = nullptr;
  float* kv_down = nullptr;     // [T][kv_lora + rope], the rope part turned; and after its norm:
  float* latent = nullptr;      // [T][kv_lora]
  float* index_q = nullptr;     // [T][heads][width], turned
  float* index_down = nullptr;  // [T][width], and after norm and turn:
  float* index_k = nullptr;
  float* index_w = nullptr;                             // [T][heads], scaled
  int32_t *chosen = nullptr, *chosen_counts = nullptr;  // [T][topk], [T]
  float* middle = nullptr;                              // [T][D] the residual stream after attention
  float* ffn_in = nullptr;                              // [T][D] normed
  float *gate = nullptr, *up = nullptr;                 // [T][inter], dense or shared
  float* router_logits = nullptr;                       // [T][E]
  float* router_weights = nullptr;                      // [T][K]
  int32_t* expert_ids = nullptr;                        // [T][K]
  int32_t *expert_order = nullptr, *expert_starts = nullptr;
  float *expert_gate = nullptr, *expert_up = nullptr;  // [T * K][inter]
  ExpertsRows expert_rows;                             // instead, where experts are divided over ranks
};

struct TrainState {
  TrainLimits limits;
  std::vector<LayerKept> layers;  // the MTP layer last
  LayerKept again;                // with recompute: what the layer being worked on holds
  float* output = nullptr;        // [T][D] the residual stream behind the last layer, and after its norm:
  float* final = nullptr;
  float* dfinal = nullptr;   // [T][D]
  float* dhidden = nullptr;  // [T][D] gradient by the residual stream
  float* dnormed = nullptr;  // [T][D]
  float *dq = nullptr, *dk = nullptr, *dv = nullptr, *dattended = nullptr;  // as q, k, v, attended
  float *dq_down = nullptr, *dq_latent = nullptr;                           // as q_down ...
  float *dlatent = nullptr, *dkv_down = nullptr;
  float *dindex_q = nullptr, *dindex_k = nullptr, *dindex_w = nullptr;  // as index_q ...
  float *index_scores = nullptr, *attention_mass = nullptr;             // [T][longest]
  float *inner = nullptr, *dinner = nullptr, *dgate = nullptr;          // [T][inter], dense or shared
  ExpertScratch experts = {};
  ExpertsSpace experts_space;
  float *drouter = nullptr, *drouter_logits = nullptr;  // [T][K], [T][E]
  float* router_scratch = nullptr;                      // [threads][2 E]
  float* logits = nullptr;                              // [kLossRows][vocab]
  float *adapted = nullptr, *dadapted = nullptr;        // [T][rank]
  // final and logits of the model without adapters
  float *reference = nullptr, *reference_logits = nullptr;
  // Multi-token prediction
  float *pair = nullptr, *dpair = nullptr;               // [T][2 D]
  float *mtp_embedding = nullptr, *mtp_given = nullptr;  // [T][D] what its norms read
  float *mtp_output = nullptr, *mtp_final = nullptr;     // [T][D]
  float *cos = nullptr, *sin = nullptr;                  // [T][rope / 2]
  float *mtp_cos = nullptr, *mtp_sin = nullptr;
  int32_t *positions = nullptr, *mtp_tokens = nullptr, *mtp_targets = nullptr, *mtp_rows = nullptr;  // [T]
  Workspace work;
  std::vector<float> frequencies;
  float rope_magnitude = 1;
  Memory memory;
};

// Throws Error where memory cannot be had, or the architecture is none that is trained.
TrainState make_train_state(const Config& config, const TrainLimits& limits);
int64_t train_state_bytes(const Config& config, const TrainLimits& limits);
// What grows beside it where experts are divided over ranks: as much where they are evenly loaded, and as
// much more as this rank's are asked for more.
int64_t expert_rows_bytes(const Config& config, const TrainLimits& limits);

// Throws Error naming the architecture that is not trained (Llama 4).
void require_trainable(const Config& config);

}  // namespace minke
