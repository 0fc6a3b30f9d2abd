#include "model/presets.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/json.h"
#include "model/architecture.h"

namespace minke {
namespace {

struct Preset {
  const char* name;
  const char* title;
  const char* config;  // as config.json would have it
};

// MODEL.md 1.1 has the sources of these numbers.
constexpr const char* kV3 = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "vocab_size": 129280, "hidden_size": 7168, "num_hidden_layers": 61,
  "first_k_dense_replace": 3, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
  "num_experts_per_tok": 8, "n_shared_experts": 1, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc",
  "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "num_attention_heads": 128,
  "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
  "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 163840,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                   "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
  "bos_token_id": 0, "eos_token_id": 1})";

constexpr const char* kV32 = R"({
  "architectures": ["DeepseekV32ForCausalLM"], "vocab_size": 129280, "hidden_size": 7168, "num_hidden_layers": 61,
  "first_k_dense_replace": 3, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
  "num_experts_per_tok": 8, "n_shared_experts": 1, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc",
  "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "num_attention_heads": 128,
  "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
  "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048,
  "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 163840,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                   "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
  "bos_token_id": 0, "eos_token_id": 1})";

constexpr const char* kV2Lite = R"({
  "architectures": ["DeepseekV2ForCausalLM"], "vocab_size": 102400, "hidden_size": 2048, "num_hidden_layers": 27,
  "first_k_dense_replace": 1, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
  "num_experts_per_tok": 6, "n_shared_experts": 2, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
  "scoring_func": "softmax", "norm_topk_prob": false, "routed_scaling_factor": 1.0, "num_attention_heads": 16,
  "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
  "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 163840,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                   "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707},
  "bos_token_id": 100000, "eos_token_id": 100001})";

constexpr Preset kPresets[] = {{"r2", "DeepSeek R2 (671B, 256k)", kV32},
                               {"v3", "DeepSeek V3", kV3},
                               {"v3.2", "DeepSeek V3.2", kV32},
                               {"v2-lite", "DeepSeek V2-Lite", kV2Lite}};

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& p : kPresets) names.emplace_back(p.name);
  return names;
}

Config preset(std::string_view name) {
  for (const Preset& p : kPresets) {
    if (name != p.name) continue;
    Json json = parse_json(p.config);
    if (name == "r2") {  // V3.2's shape with a context of 262,144: YaRN's factor is 262,144 / 4,096
      json.set("max_position_embeddings", 262144);
      json.find("rope_scaling")->set("factor", 64);
    }
    Config config =
        config_from_json(json, fmt::format("preset:{}", name), [](std::string_view) { return true; }, {});
    config.name = p.title;
    return config;
  }
  throw Error("no such preset", fmt::format("preset:{}", name),
              fmt::format("known are {}", fmt::join(preset_names(), ", ")));
}

}  // namespace minke
