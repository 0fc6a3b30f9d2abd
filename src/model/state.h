#pragma once
// What one step needs: buffers sized at start from the config and the limits. A step allocates nothing.

#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "kv/pool.h"
#include "model/config.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/decompress.h"
#include "ops/experts.h"
#include "ops/smooth_keys.h"
#include "ops/workspace.h"

namespace minke {

// What a run of the model may use.
struct Limits {
  int rows = 512;  // tokens of one step
  int sequences = 1;
  int context = 4096;  // tokens of all sequences together that the cache holds
  int logit_rows = 1;  // rows of one step that can come out as logits
  int threads = 1;
  KvFormats kv = {};
  bool decompress = true;              // latent attention of given tokens may take its decompressed form
  Format k_nope_format = Format::f32;  // of the matrices that form needs
  bool mtp =
      false;  // the MTP layer runs as well, where the model has one: its cache rows and buffers are there
  bool wide =
      true;  // f32 operands are possible: activations are not rounded, or some matrix is of a float format
  int adapter_rank = 0;  // the largest of the adapters; 0: there are none
  bool inspect = false;  // the indexer scores every position and a tap sees the scores
};

// R = limits.rows, D dim, H heads. Buffers an architecture has no use for are null.
struct State {
  float* hidden = nullptr;           // [R][D], the residual stream
  float* normed = nullptr;           // [R][D]
  float* q = nullptr;                // [R][H][head_dim], MLA [R][H][nope + rope]
  float* k = nullptr;                // [R][kv_heads * head_dim]
  float* v = nullptr;                // [R][kv_heads * head_dim]
  float* key_offset = nullptr;       // [kv_heads * head_dim], where biased keys are rounded to 8 bits
  float* key_scale = nullptr;        // [kv_heads * head_dim]
  float* attended = nullptr;         // [R][H][v]
  float* q_latent = nullptr;         // [R][q_lora]
  float* kv_latent = nullptr;        // [R][kv_lora + rope]
  float* q_absorbed = nullptr;       // [R][H][kv_lora + rope]
  float* attended_latent = nullptr;  // [R][H][kv_lora]
  std::byte* k_nope = nullptr;       // [layers][H * nope][kv_lora], with decompress
  DecompressSpace decompressed = {};
  float* index_q = nullptr;          // [R][index heads][index width]
  float* index_k = nullptr;          // [R][index width]
  float* index_weights = nullptr;    // [R][index heads]
  float* index_scores = nullptr;     // [R][context], with inspect
  int32_t* chosen = nullptr;         // [R][topk]
  int32_t* chosen_counts = nullptr;  // [R]
  float* gate = nullptr;             // [R][inter], the widest of dense and shared
  float* up = nullptr;               // [R][inter]
  float* router_logits = nullptr;    // [R][E]
  float* router_scratch = nullptr;   // [threads][2 E]
  int32_t* expert_ids = nullptr;     // [R][K]
  float* expert_weights = nullptr;   // [R][K]
  ExpertSpace experts = {};
  float* pair = nullptr;  // [R][2 D], MTP's input
  float* cos = nullptr;   // [R][rope / 2]
  float* sin = nullptr;
  int32_t* positions = nullptr;  // [R]
  float* output = nullptr;       // [R][D], final hidden states of the rows that come out
  float* logits = nullptr;       // [logit_rows][vocab]
  Workspace work;

  std::vector<float> frequencies;  // rope's [rope / 2]
  float rope_magnitude = 1;
  MeanTurns mean_turns;
  std::vector<Run> runs;
  std::vector<Run> decompressed_runs, absorbed_runs;  // of latent attention, the same rows
  Limits limits;
  KvPool* kv = nullptr;            // the caller's
  ExpertSource* source = nullptr;  // the caller's
  Memory memory;                   // all of the above
};

// f(name, pointer, count) for every buffer, pointer being a member of `state` of type float*, int32_t* or
// std::byte*.
template <typename F>
void for_each_buffer(const Config& config, const Limits& limits, State& state, F&& f);

// The config by which a run with these limits makes its cache and buffers: with the MTP layer that runs, or
// with none.
Config as_run(const Config& config, const Limits& limits);

int64_t state_bytes(const Config& config, const Limits& limits);
State make_state(const Config& config, const Limits& limits, KvPool& kv, ExpertSource& source);

// Latent attention's shape; the config has it.
LatentShape latent_shape(const Config& config, const KvPart& latent);
// k_nope of one layer, in the state's memory.
Mat k_nope_of(const Config& config, const State& state, int layer);

// A cache row of each layer, MTP layers last.
KvLayout kv_layout(const Config& config, const KvFormats& formats);

}  // namespace minke
