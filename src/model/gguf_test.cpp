// GGUF files of every architecture: the golden models, converted, give what the folders give.

#include <fstream>

#include "model/architecture.h"
#include "model/test_gguf.h"

namespace minke {
namespace {

class GgufModel : public testing::Test {
 protected:
  Model load(const TestGguf& gguf, const LoadOptions& options = {}) {
    gguf.write(folder_ / "model.gguf");
    return load_model(folder_ / "model.gguf", options);
  }
  void verify_as(const TestGguf& gguf, std::string_view name) {
    const Model model = load(gguf);
    VerifyOptions options;
    options.threads = 2;
    expect_verified(model, golden_tensors(name), options, std::string(name));
  }
  std::string refusal(const TestGguf& gguf) {
    return error_of([&] { load(gguf); });
  }

  TemporaryFolder folder_;
};

TEST_F(GgufModel, EveryArchitectureGivesTheReference) {
  for (const char* name :
       {"llama", "qwen2", "llama4", "deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8", "deepseek_v32"})
    verify_as(golden_as_gguf(name), name);
}

TEST_F(GgufModel, ArchitecturesAreTold) {
  EXPECT_EQ(load(golden_as_gguf("deepseek_v2_lite")).config.arch, "deepseek_v2");
  EXPECT_EQ(load(golden_as_gguf("deepseek_v3")).config.arch, "deepseek_v3");
  EXPECT_EQ(load(golden_as_gguf("deepseek_v32")).config.arch, "deepseek_v32");
}

TEST_F(GgufModel, ADenseDeepseekModelIsAV2) {
  TestGguf gguf = golden_as_gguf("deepseek_v3");
  gguf.set("deepseek2.expert_count", int64_t{0});
  gguf.write(folder_ / "dense.gguf");
  const Config config = config_from_gguf(Gguf::open(folder_ / "dense.gguf"), {});
  EXPECT_EQ(config.arch, "deepseek_v2");
  EXPECT_FALSE(config.moe.has_value());
}

TEST_F(GgufModel, LegacyDeepseekLayout) {
  for (const char* name : {"deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8"})
    verify_as(golden_as_gguf(name, {.legacy_kv_b = true}), name);
  const Model legacy = load(golden_as_gguf("deepseek_v3", {.legacy_kv_b = true}));
  const Model split = load(golden_as_gguf("deepseek_v3"));
  EXPECT_GT(legacy.made_for_layout, 0);
  EXPECT_EQ(split.made_for_layout, 0);
}

// Some converters wrote kv_b whole and in its two parts.
TEST_F(GgufModel, BothLayoutsInOneFile) {
  TestGguf gguf = golden_as_gguf("deepseek_v3");
  const Json config = HfFolder::open(golden_folder("deepseek_v3")).config;
  const int64_t rows = config.at("num_attention_heads").as_int() *
                       (config.at("qk_nope_head_dim").as_int() + config.at("v_head_dim").as_int());
  const int64_t cols = config.at("kv_lora_rank").as_int();
  gguf.add("blk.0.attn_kv_b.weight", {rows, cols}, std::vector<float>(static_cast<size_t>(rows * cols)));
  verify_as(gguf, "deepseek_v3");
}

TEST_F(GgufModel, FusedGateAndUp) {
  verify_as(golden_as_gguf("deepseek_v3", {.fused_gate_up = true}), "deepseek_v3");
}

TEST_F(GgufModel, MultiTokenPredictionLayer) {
  verify_as(golden_as_gguf("deepseek_v3_mtp", {.architecture = "deepseek32"}), "deepseek_v3_mtp");
}

TEST_F(GgufModel, MultiTokenPredictionCopiesAreOptional) {
  TestGguf gguf = golden_as_gguf("deepseek_v3_mtp", {.architecture = "deepseek32"});
  gguf.drop("blk.2.nextn.embed_tokens.weight");
  gguf.drop("blk.2.nextn.shared_head_head.weight");
  verify_as(gguf, "deepseek_v3_mtp");
  gguf.drop("blk.2.nextn.shared_head_norm.weight");  // then the model's own norm serves
  const Model model = load(gguf);
  EXPECT_EQ(std::memcmp(model.weights.layers[2].mtp_norm.data, model.weights.output_norm.data,
                        static_cast<size_t>(model.weights.output_norm.bytes())),
            0);
}

TEST_F(GgufModel, TrunkWithoutItsExtraLayer) {
  TestGguf gguf = golden_as_gguf("deepseek_v3_mtp", {.architecture = "deepseek32"});
  gguf.drop("blk.2.");
  const Model model = load(gguf);
  EXPECT_EQ(model.config.layers, 2);
  EXPECT_EQ(model.config.mtp_layers, 0);
}

TEST_F(GgufModel, OnlyTheExtraLayerIsRefused) {
  TestGguf gguf = golden_as_gguf("deepseek_v3_mtp", {.architecture = "deepseek32"});
  gguf.drop("blk.0.");
  gguf.drop("blk.1.");
  const std::string text = refusal(gguf);
  expect_says(text, "model.gguf");
  expect_says(text, "multi-token-prediction");
}

TEST_F(GgufModel, SplitFilesAndVersion2) {
  const TestGguf gguf = golden_as_gguf("deepseek_v3");
  VerifyOptions options;
  options.threads = 2;
  const fs::path first = gguf.write_split(folder_ / "split", 3);
  expect_verified(load_model(first), golden_tensors("deepseek_v3"), options, "split");

  gguf.write(folder_ / "v2.gguf");
  std::fstream(folder_ / "v2.gguf", std::ios::in | std::ios::out | std::ios::binary).seekp(4).put(2);
  const Model v2 = load_model(folder_ / "v2.gguf");
  EXPECT_EQ(v2.gguf()->version(), 2u);
  expect_verified(v2, golden_tensors("deepseek_v3"), options, "v2");

  fs::remove(folder_ / "split-00002-of-00003.gguf");
  expect_says(error_of([&] { load_model(first); }), "split-00002-of-00003.gguf");
}

TEST_F(GgufModel, MissingHeadIsTheEmbedding) {
  EXPECT_TRUE(load(golden_as_gguf("llama")).config.tied);
  TestGguf gguf = golden_as_gguf("deepseek_v3");
  EXPECT_FALSE(load(gguf).config.tied);
  gguf.drop("output.weight");
  const Model model = load(gguf);
  EXPECT_TRUE(model.config.tied);
  EXPECT_EQ(model.weights.head.data, model.weights.embed.data);
}

TEST_F(GgufModel, YarnKeys) {
  TestGguf gguf = golden_as_gguf("deepseek_v2_lite");
  const RopeConfig rope = load(gguf).config.rope;
  EXPECT_EQ(rope.scaling, RopeScaling::yarn);
  EXPECT_EQ(rope.factor, 40);
  EXPECT_EQ(rope.original, 32);
  EXPECT_EQ(rope.beta_fast, 32);
  EXPECT_EQ(rope.beta_slow, 1);
  EXPECT_NEAR(rope.mscale_all_dim, 0.707, 1e-6);  // ten times the key's
  EXPECT_NEAR(rope_magnitude(rope), 1, 1e-12);
  gguf.set("deepseek2.rope.scaling.yarn_beta_fast", 24.0);
  gguf.set("deepseek2.rope.scaling.yarn_beta_slow", 2.0);
  EXPECT_EQ(load(gguf).config.rope.beta_fast, 24);
  EXPECT_EQ(load(gguf).config.rope.beta_slow, 2);
  for (const char* type : {"longrope", "llama3"}) {
    gguf.set("deepseek2.rope.scaling.type", std::string(type));
    expect_says(refusal(gguf), "deepseek2.rope.scaling.type");
  }
}

// A config.json has the same bounds: what is loaded can be converted.
TEST_F(GgufModel, NumbersBeyondAConfigs) {
  const auto refused = [&](const char* key, const TestGguf::Value& value) {
    TestGguf gguf = golden_as_gguf("deepseek_v2_lite", {.legacy_kv_b = true});
    gguf.set(key, value);
    expect_says(refusal(gguf), key);
  };
  refused("deepseek2.rope.scaling.yarn_log_multiplier", 11.0);
  refused("deepseek2.attention.key_length", int64_t{kMaxHeadWidth + 100});
  refused("deepseek2.attention.value_length", int64_t{kMaxHeadWidth + 1});
}

TEST_F(GgufModel, GatingFunction) {
  TestGguf gguf = golden_as_gguf("deepseek_v2_lite");  // no key: softmax
  EXPECT_EQ(load(gguf).config.moe->router.score, RouterScore::softmax);
  gguf.set("deepseek2.expert_gating_func", int64_t{1});
  EXPECT_EQ(load(gguf).config.moe->router.score, RouterScore::softmax);
  gguf.set("deepseek2.expert_gating_func", int64_t{4});
  expect_says(refusal(gguf), "deepseek2.expert_gating_func");
}

TEST_F(GgufModel, NamesWhatIsWrong) {
  {
    TestGguf gguf = golden_as_gguf("llama");
    gguf.drop("blk.1.ffn_up.weight");
    expect_says(refusal(gguf), "'blk.1.ffn_up.weight' is missing");
  }
  {
    TestGguf gguf = golden_as_gguf("llama");
    gguf.set("llama.feed_forward_length", int64_t{128});
    const std::string text = refusal(gguf);
    expect_says(text, "blk.0.ffn_gate.weight");
    expect_says(text, "expected shape [128, 64]");
    expect_says(text, "[160, 64]");
  }
  {
    TestGguf gguf = golden_as_gguf("llama");
    gguf.add("blk.0.mystery.weight", {2}, {1, 2});
    expect_says(refusal(gguf), "mystery");
    gguf.write(folder_ / "allowed.gguf");
    LoadOptions options;
    options.allowed = {"blk.0.mystery.weight"};
    EXPECT_EQ(load_model(folder_ / "allowed.gguf", options).config.layers, 3);
  }
  {
    TestGguf gguf = golden_as_gguf("llama");  // layers the config does not count
    gguf.set("llama.block_count", int64_t{2});
    expect_says(refusal(gguf), "blk.2.");
  }
  {
    TestGguf gguf = golden_as_gguf("qwen2");
    gguf.set("qwen2.something_new", int64_t{1});
    expect_says(refusal(gguf), "qwen2.something_new");
    LoadOptions options;
    options.allowed = {"qwen2.something_new"};
    EXPECT_EQ(load(gguf, options).config.layers, 3);
  }
}

TEST_F(GgufModel, HostileNumbersAreNamed) {
  struct Case {
    const char *model, *key;
    TestGguf::Value value;
  };
  const Case cases[] = {
      {"llama", "llama.block_count", int64_t{0}},
      {"llama", "llama.block_count", int64_t{1} << 31},
      {"llama", "llama.embedding_length", int64_t{0}},
      {"llama", "llama.embedding_length", int64_t{-64}},
      {"llama", "llama.attention.head_count", int64_t{0}},
      {"llama", "llama.attention.head_count", std::string("four")},
      {"llama", "llama.attention.head_count", 4.0},
      {"llama", "llama.attention.key_length", int64_t{0}},
      {"llama", "llama.attention.value_length", int64_t{8}},
      {"llama", "llama.rope.dimension_count", int64_t{8}},
      {"llama", "llama.rope.freq_base", 0.0},
      {"llama", "llama.rope.freq_base", -1.0},
      {"llama", "llama.rope.freq_base", std::nan("")},
      {"llama", "llama.attention.layer_norm_rms_epsilon", -1.0},
      {"llama", "llama.context_length", int64_t{0}},
      {"llama", "llama.expert_count", int64_t{8}},
      {"qwen2", "qwen2.attention.sliding_window", int64_t{4096}},
      {"llama4", "llama4.expert_used_count", int64_t{5}},
      {"llama4", "llama4.expert_gating_func", int64_t{1}},
      {"llama4", "llama4.rope_layers", std::vector<int32_t>{1, 1}},
      {"llama4", "llama4.attention.temperature_floor", 0.0},
      {"deepseek_v3", "deepseek2.expert_used_count", int64_t{17}},
      {"deepseek_v3", "deepseek2.expert_group_used_count", int64_t{5}},
      {"deepseek_v3", "deepseek2.attention.kv_lora_rank", int64_t{0}},
      {"deepseek_v3", "deepseek2.attention.key_length_mla", int64_t{2}},
      {"deepseek_v3", "deepseek2.leading_dense_block_count", int64_t{4}},
      {"deepseek_v32", "deepseek32.attention.indexer.key_length", int64_t{8}},
      {"deepseek_v32", "deepseek32.attention.indexer.top_k", int64_t{0}},
  };
  for (const Case& c : cases) {
    TestGguf gguf = golden_as_gguf(c.model);
    gguf.set(c.key, c.value);
    const std::string text = refusal(gguf);
    expect_says(text, "model.gguf");
    expect_says(text, c.key);
  }
  TestGguf heads = golden_as_gguf("llama");  // contradictions
  heads.set("llama.attention.head_count_kv", int64_t{3});
  expect_says(refusal(heads), "4 heads cannot share 3");
  TestGguf groups = golden_as_gguf("deepseek_v3");
  groups.set("deepseek2.expert_group_count", int64_t{5});
  expect_says(refusal(groups), "16 experts in 5 groups");
  TestGguf none = golden_as_gguf("llama");  // more heads than numbers to share among them
  none.set("llama.attention.head_count", int64_t{128});
  none.set("llama.attention.head_count_kv", int64_t{128});
  none.erase("llama.attention.key_length");
  none.erase("llama.attention.value_length");
  none.erase("llama.rope.dimension_count");
  expect_says(refusal(none), "head_count");
}

TEST_F(GgufModel, DivisorsOfFrequenciesArePositive) {
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    TestGguf gguf = golden_as_gguf("llama");
    gguf.drop("rope_freqs.weight");
    gguf.add("rope_freqs.weight", {8}, {1, 1, 1, bad, 1, 1, 1, 1});
    expect_says(refusal(gguf), "rope_freqs.weight");
  }
}

TEST_F(GgufModel, MissingKeysAreNamed) {
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                          "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
                          "llama.context_length", "general.architecture"}) {
    TestGguf gguf = golden_as_gguf("llama");
    gguf.erase(key);
    expect_says(refusal(gguf), key);
  }
  TestGguf other = golden_as_gguf("llama");
  other.set("general.architecture", std::string("mamba"));
  const std::string text = refusal(other);
  expect_says(text, "mamba");
  expect_says(text, "deepseek2");
}

}  // namespace
}  // namespace minke
