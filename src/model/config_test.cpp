// Configurations that no model has: refused, with file and field.

#include <rapidcheck.h>

#include "model/architecture.h"
#include "model/presets.h"
#include "model/test_models.h"

namespace minke {
namespace {

Json golden_config(std::string_view name) {
  return parse_json(read_file(golden_folder(name) / "config.json"));
}

Config config_of(const Json& json, const std::set<std::string>& allowed = {}) {
  return config_from_json(json, "folder/config.json", [](std::string_view) { return true; }, allowed);
}

std::string refusal(const Json& json) {
  return error_of([&] { config_of(json); });
}

struct Case {
  const char *model, *field;
  Json value;
};

const Case kHostileValues[] = {
    {"llama", "num_hidden_layers", 0},
    {"llama", "num_hidden_layers", int64_t{1} << 40},
    {"llama", "num_hidden_layers", 1e300},
    {"llama", "num_hidden_layers", UINT64_MAX},
    {"llama", "num_hidden_layers", 2.5},
    {"llama", "num_hidden_layers", "three"},
    {"llama", "num_hidden_layers", true},
    {"llama", "hidden_size", 0},
    {"llama", "hidden_size", -64},
    {"llama", "hidden_size", JsonArray{Json(64)}},
    {"llama", "vocab_size", 0},
    {"llama", "vocab_size", int64_t{1} << 33},
    {"llama", "intermediate_size", 0},
    {"llama", "num_attention_heads", 0},
    {"llama", "num_key_value_heads", 0},
    {"llama", "num_key_value_heads", 3},
    {"llama", "num_key_value_heads", 8},
    {"llama", "head_dim", 0},
    {"llama", "head_dim", 15},
    {"llama", "head_dim", 1 << 20},
    {"llama", "rms_norm_eps", -1e-6},
    {"llama", "rms_norm_eps", "small"},
    {"llama", "rope_theta", 0},
    {"llama", "rope_theta", -10000},
    {"llama", "max_position_embeddings", 0},
    {"llama", "hidden_act", "gelu"},
    {"llama", "mlp_bias", true},
    {"llama", "tie_word_embeddings", 1},
    {"llama", "eos_token_id", "end"},
    {"llama", "eos_token_id", JsonArray{Json(1), Json("x")}},
    {"llama", "attention_bias", "no"},
    {"llama", "sliding_window_pattern", 6},
    {"qwen2", "use_sliding_window", true},
    {"llama4", "num_local_experts", 0},
    {"llama4", "num_experts_per_tok", 5},
    {"llama4", "no_rope_layers", JsonArray{Json(1)}},
    {"llama4", "no_rope_layers", JsonArray{Json(1), Json(2), Json(1), Json(0)}},
    {"llama4", "no_rope_layers", "all"},
    {"llama4", "attention_chunk_size", 0},
    {"llama4", "interleave_moe_layer_step", 0},
    {"llama4", "floor_scale", 0},
    {"deepseek_v3", "kv_lora_rank", 0},
    {"deepseek_v3", "kv_lora_rank", nullptr},
    {"deepseek_v3", "q_lora_rank", 0},
    {"deepseek_v3", "qk_rope_head_dim", 15},
    {"deepseek_v3", "qk_rope_head_dim", 0},
    {"deepseek_v3", "qk_nope_head_dim", 0},
    {"deepseek_v3", "v_head_dim", 0},
    {"deepseek_v3", "num_experts_per_tok", 17},
    {"deepseek_v3", "n_group", 5},
    {"deepseek_v3", "topk_group", 5},
    {"deepseek_v3", "topk_method", "random"},
    {"deepseek_v3", "scoring_func", "tanh"},
    {"deepseek_v3", "first_k_dense_replace", 4},
    {"deepseek_v3", "moe_layer_freq", 2},
    {"deepseek_v3", "attention_bias", true},
    {"deepseek_v3", "rope_interleave", false},
    {"deepseek_v3", "routed_scaling_factor", -1},
    {"deepseek_v3", "num_nextn_predict_layers", -1},
    {"deepseek_v32", "index_head_dim", 8},
    {"deepseek_v32", "index_topk", 0},
    {"deepseek_v32", "index_n_heads", 0},
    {"deepseek_v32", "q_lora_rank", nullptr},
};

TEST(Config, HostileValuesAreNamed) {
  for (const Case& c : kHostileValues) {
    Json json = golden_config(c.model);
    json.set(c.field, c.value);
    const std::string text = refusal(json);
    expect_says(text, "folder/config.json");
    expect_says(text, fmt::format("field '{}'", c.field));
  }
}

// As published: fields that say nothing of the computation are known, and are no errors.
TEST(Config, PublishedFiles) {
  const Config smol = config_of(parse_json(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
    "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
    "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers.js_config": {"dtype": "q4"},
    "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152})"));
  EXPECT_EQ(smol.head_dim, 64);
  EXPECT_EQ(smol.rope.theta, 100000);
  EXPECT_TRUE(smol.tied);

  const Config distill =
      config_of(parse_json(R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 1536,
    "initializer_range": 0.02, "intermediate_size": 8960, "max_position_embeddings": 131072,
    "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 12, "num_hidden_layers": 28,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 10000, "sliding_window": 4096,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.44.0",
    "use_cache": true, "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936})"));
  EXPECT_TRUE(distill.qkv_bias && !distill.o_bias && !distill.tied && distill.rope.half);

  const Config v31 =
      config_of(parse_json(R"({"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
    "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048,
    "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true,
    "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                            "scale_fmt": "ue8m0", "weight_block_size": [128, 128]},
    "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
    "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"}, "rope_theta": 10000,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false, "topk_group": 4,
    "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "transformers_version": "4.44.2", "use_cache": true,
    "v_head_dim": 128, "vocab_size": 129280})"));
  EXPECT_NEAR(v31.attention_scale, 0.135234, 1e-6);
  EXPECT_EQ(v31.mtp_layers, 1);
}

TEST(Config, FieldsOfRopeAreNamed) {
  const Case cases[] = {{"deepseek_v3", "type", "dynamic"},
                        {"deepseek_v3", "factor", 0},
                        {"deepseek_v3", "factor", nullptr},
                        {"deepseek_v3", "original_max_position_embeddings", 0},
                        {"deepseek_v3", "beta_fast", 0},
                        {"deepseek_v3", "beta_fast", "32"},
                        {"deepseek_v3", "mscale", -1},
                        {"deepseek_v3", "partial_rotary_factor", 0.5},
                        {"deepseek_v3", "short_factor", JsonArray{Json(1)}},
                        {"llama", "low_freq_factor", 0}};
  for (const Case& c : cases) {
    Json json = golden_config(c.model);
    json.find("rope_scaling")->set(c.field, c.value);
    const std::string text = refusal(json);
    expect_says(text, "folder/config.json: rope_scaling");
    expect_says(text, fmt::format("'{}'", std::string_view(c.field) == "type" ? "rope_type" : c.field));
  }
}

TEST(Config, UnknownFieldsMayBeAllowedWhereverTheyAre) {
  Json json = golden_config("deepseek_v3");
  json.set("residual_gain", 2);
  expect_says(refusal(json), "--allow-field residual_gain");
  EXPECT_EQ(config_of(json, {"residual_gain"}).layers, 3);
  json.find("rope_scaling")->set("twist", 1);
  expect_says(error_of([&] { config_of(json, {"residual_gain"}); }), "rope_scaling: field 'twist'");
  EXPECT_EQ(config_of(json, {"residual_gain", "twist"}).layers, 3);
}

TEST(Config, MissingFieldsAreNamed) {
  for (const char* field : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                            "intermediate_size", "rms_norm_eps", "max_position_embeddings"}) {
    Json json = golden_config("llama");
    std::erase_if(json.as_object(), [&](const JsonMember& m) { return m.first == field; });
    expect_says(refusal(json), fmt::format("'{}' is missing", field));
  }
}

TEST(Config, UnknownArchitecturesListTheKnown) {
  Json json = golden_config("llama");
  json.set("architectures", JsonArray{Json("MambaForCausalLM")});
  json.set("model_type", "mamba");
  const std::string text = refusal(json);
  expect_says(text, "MambaForCausalLM");
  expect_says(text, "DeepseekV3ForCausalLM");
  for (const Json& no_object : {Json(1), Json("x"), Json(JsonArray{}), Json()})
    expect_says(refusal(no_object), "folder/config.json");
}

TEST(Config, GroupsTooFewForTheExpertsChosen) {
  Json json = golden_config("deepseek_v3");  // 16 experts in 4 groups, 4 active
  json.set("topk_group", 1);
  json.set("num_experts_per_tok", 5);
  expect_says(refusal(json), "5 active, but 1 of 4 groups hold only 4");
}

TEST(Config, TheLargestConfigCountsWithinBounds) {
  // Everything at its limit: counting it takes neither memory nor numbers beyond 64 bits.
  Json json = golden_config("deepseek_v32");
  for (const auto& [field, value] :
       std::vector<std::pair<const char*, int64_t>>{{"num_hidden_layers", kMaxLayers},
                                                    {"hidden_size", kMaxWidth},
                                                    {"vocab_size", kMaxVocab},
                                                    {"intermediate_size", kMaxWidth},
                                                    {"moe_intermediate_size", kMaxWidth},
                                                    {"n_routed_experts", kMaxExperts},
                                                    {"num_attention_heads", kMaxHeads},
                                                    {"kv_lora_rank", kMaxHeadWidth},
                                                    {"qk_nope_head_dim", kMaxHeadWidth},
                                                    {"qk_rope_head_dim", kMaxHeadWidth},
                                                    {"v_head_dim", kMaxHeadWidth},
                                                    {"q_lora_rank", kMaxWidth},
                                                    {"index_n_heads", kMaxHeads},
                                                    {"index_head_dim", kMaxHeadWidth},
                                                    {"index_topk", kMaxContext},
                                                    {"max_position_embeddings", kMaxContext},
                                                    {"n_shared_experts", 64}})
    json.set(field, value);
  const Config config = config_of(json);
  int64_t slots = 0;
  for_each_weight(config, [&](const WeightSlot& slot) {
    ASSERT_GT(slot.count(), 0);
    ++slots;
  });
  EXPECT_GT(slots, int64_t{3} * kMaxLayers * (kMaxExperts - 1));
}

// Any mixture of values for any known field is a config or an Error that names the file.
TEST(Config, AnyMixtureIsAConfigOrAnError) {
  EXPECT_TRUE(rc::check([] {
    Json json = golden_config(
        *rc::gen::elementOf(std::vector<std::string>(std::begin(kGoldenModels), std::end(kGoldenModels))));
    const JsonObject fields = json.as_object();
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
      const std::string field = fields[*rc::gen::inRange<size_t>(0, fields.size())].first;
      json.set(field, *rc::gen::elementOf(std::vector<Json>{
                          Json(0), Json(1), Json(2), Json(3), Json(-1), Json(7), Json(64), Json(4096),
                          Json(INT64_MAX), Json(UINT64_MAX), Json(0.5), Json(1e30), Json("x"), Json(true),
                          Json(nullptr), Json(JsonArray{}), Json(JsonObject{})}));
    }
    try {
      const Config c = config_of(json);
      int64_t count = 0;
      for_each_weight(c, [&](const WeightSlot& slot) {
        RC_ASSERT(slot.rows > 0 && slot.cols > 0);
        count += slot.count();
      });
      RC_ASSERT(count > 0);
    } catch (const Error& e) {
      RC_ASSERT(std::string_view(e.what()).find("config.json") != std::string_view::npos);
    }
  }));
}

}  // namespace
}  // namespace minke
