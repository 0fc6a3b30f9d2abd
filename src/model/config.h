#pragma once
// What the model is: every number of config.json or of a GGUF file's metadata, validated once, immutable
// after.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ops/rope.h"
#include "ops/router.h"

namespace minke {

struct MlaConfig {
  int q_lora = 0;                 // 0: one matrix makes the queries (V2-Lite)
  int kv_lora = 0;                // numbers of the cached latent
  int nope = 0, rope = 0, v = 0;  // per head
  bool operator==(const MlaConfig&) const = default;
};

struct IndexerConfig {
  int heads = 0, width = 0, topk = 0;
  bool operator==(const IndexerConfig&) const = default;
};

struct MoeConfig {
  RouterConfig router;
  int inter = 0;             // of one routed expert
  int shared_inter = 0;      // of all shared experts together; 0: none
  int first = 0;             // layers before this one are dense
  int step = 1;              // of the others, every step-th is sparse: (layer + 1) % step == 0
  bool router_bias = false;  // added to scores for the choice only
  bool scale_input = false;  // the router's weight multiplies the expert's input (Llama 4)
  bool operator==(const MoeConfig&) const = default;
};

struct Config {
  std::string arch;  // name of the architecture's registry row: "deepseek_v3"
  std::string name;  // the model's own, or empty
  int vocab = 0, dim = 0, layers = 0;
  int mtp_layers = 0;     // extra layers behind the others, for multi-token prediction
  int mtp_announced = 0;  // how many the config speaks of; many files are published without them
  int context = 0;        // positions it was made for
  float norm_eps = 1e-6f;
  int heads = 0;
  int kv_heads = 0, head_dim = 0;  // GQA; 0 with MLA
  std::optional<MlaConfig> mla;
  std::optional<IndexerConfig> indexer;
  std::optional<MoeConfig> moe;
  int inter = 0;      // of dense layers
  bool tied = false;  // the head is the embedding
  bool qkv_bias = false, o_bias = false;
  RopeConfig rope;
  float attention_scale = 0;  // of q . k, YaRN's factor included
  // Llama 4
  std::vector<uint8_t>
      rope_layers;  // [layers], 0: no rotation, every earlier token is seen; empty: all have it
  int chunk = 0;    // layers with rotation see their own chunk of positions only; 0: everything
  bool qk_norm = false;
  float temperature_floor = 0,
        temperature_scale = 0;  // queries of layers without rotation grow with position
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;

  bool operator==(const Config&) const = default;

  bool sparse(int layer) const {  // has experts
    return moe && (layer >= layers || (layer >= moe->first && (layer + 1) % moe->step == 0));
  }
  bool rotates(int layer) const {
    return rope_layers.empty() || rope_layers[static_cast<size_t>(layer)] != 0;
  }
  // How many tokens back layer's attention looks; 0: all.
  int lookback(int layer) const { return chunk > 0 && rotates(layer) ? chunk : 0; }
};

// What a config was read from: each names its fields in its own way.
enum class Container : uint8_t { gguf, hugging_face };

// Throws Error naming the field of `where` whose number no model can have, or contradicts another.
void validate(const Config& config, Container container, const std::string& where);

}  // namespace minke
