// Hugging Face folders as they are published: other spellings of the config, other names, FP8 in all its
// forms.

#include "base/float.h"
#include "formats/hf_folder.h"
#include "model/test_models.h"

namespace minke {
namespace {

// A golden model's folder, to be altered and written anew.
class AlteredFolder {
 public:
  explicit AlteredFolder(std::string_view name) : source_(HfFolder::open(golden_folder(name))) {
    config = source_.config;
    for (const TensorView& t : source_.weights.tensors()) tensors.push_back(t);
  }

  TensorView& tensor(std::string_view name) {
    for (TensorView& t : tensors)
      if (t.name == name) return t;
    throw Error(fmt::format("no tensor {}", name));
  }
  // New bytes for a tensor, kept here.
  void give(TensorView& t, std::string bytes) {
    kept_.push_back(std::make_unique<std::string>(std::move(bytes)));
    t.bytes = as_bytes(*kept_.back());
  }
  void give(TensorView& t, const std::vector<float>& values) {
    t.format = Format::f32;
    give(t, std::string(as_text(std::as_bytes(std::span(values)))));
  }
  void drop(std::string_view name) {
    EXPECT_EQ(std::erase_if(tensors, [&](const TensorView& t) { return t.name == name; }), 1u) << name;
  }
  void erase(std::string_view field) {
    std::erase_if(config.as_object(), [&](const JsonMember& m) { return m.first == field; });
  }

  Model load(const LoadOptions& options = {}) {
    fs::remove_all(folder_ / "m");
    fs::create_directories(folder_ / "m");
    write_text(folder_ / "m/config.json", to_string(config));
    save_safetensors(folder_ / "m/model.safetensors", tensors);
    return load_model(folder_ / "m", options);
  }
  std::string refusal() {
    return error_of([&] { load(); });
  }

  Json config;
  std::vector<TensorView> tensors;

 private:
  HfFolder source_;
  std::vector<std::unique_ptr<std::string>> kept_;
  TemporaryFolder folder_;
};

void expect_golden(AlteredFolder& folder, const char* name) {
  VerifyOptions options;
  options.threads = 2;
  expect_verified(folder.load(), golden_tensors(name), options, name);
}

TEST(HfModel, RopeParametersAreRopeScalingWithTheta) {
  for (const char* name : {"deepseek_v2_lite", "deepseek_v3", "llama", "qwen2"}) {
    AlteredFolder folder(name);
    Json rope = folder.config.find("rope_scaling") ? *folder.config.find("rope_scaling") : Json(JsonObject{});
    if (Json* type = rope.find("type")) rope.set("rope_type", *type);
    std::erase_if(rope.as_object(), [](const JsonMember& m) { return m.first == "type"; });
    if (!rope.find("rope_type")) rope.set("rope_type", "default");
    rope.set("rope_theta", folder.config.at("rope_theta"));
    folder.erase("rope_theta");
    folder.erase("rope_scaling");
    folder.config.set("rope_parameters", rope);
    expect_golden(folder, name);
  }
}

TEST(HfModel, Llama4NamesOfTheReleasedFiles) {
  AlteredFolder folder("llama4");
  for (TensorView& t : folder.tensors) t.name = "language_model." + t.name;
  TensorView vision = folder.tensors.front();
  vision.name = "vision_model.layernorm_pre.weight";
  folder.tensors.push_back(vision);
  Json text = folder.config;
  std::erase_if(text.as_object(), [](const JsonMember& m) { return m.first == "architectures"; });
  folder.config = JsonObject{};
  folder.config.set("architectures", JsonArray{Json("Llama4ForConditionalGeneration")});
  folder.config.set("model_type", "llama4");
  folder.config.set("text_config", text);
  folder.config.set("vision_config", JsonObject{});
  folder.config.set("image_token_index", 200092);
  expect_golden(folder, "llama4");

  folder.config.find("text_config")->set("strange", 1);
  expect_says(folder.refusal(), "config.json: text_config: field 'strange'");
  LoadOptions options;
  options.allowed = {"strange"};
  EXPECT_EQ(folder.load(options).config.layers, 4);
}

TEST(HfModel, HeadSizeOfItsOwn) {  // golden models have hidden / heads = head_dim; here it is not
  AlteredFolder folder("llama");
  folder.config.set("num_attention_heads", 2);
  folder.config.set("num_key_value_heads", 1);
  folder.config.set("head_dim", 32);
  EXPECT_EQ(folder.load().config.head_dim, 32);
  folder.config.set("num_attention_heads", 8);  // 8 heads of 8, and 64 / 8 = 8: the same without head_dim
  folder.config.set("num_key_value_heads", 4);
  folder.erase("head_dim");
  EXPECT_EQ(folder.load().config.head_dim, 8);
  folder.config.set("num_attention_heads", 4);
  folder.config.set("num_key_value_heads", 2);
  folder.config.set("head_dim", 8);
  const std::string text = folder.refusal();
  expect_says(text, "model.layers.0.self_attn.q_proj.weight");
  expect_says(text, "expected shape [32, 64]");
}

// ---- FP8

// Scales turned into powers of two: the values are those of the exact product, whatever scale_fmt says.
TEST(HfModel, ScalesAreTakenAsTheyAre) {
  AlteredFolder folder("deepseek_v3_fp8");
  int seen = 0;
  for (TensorView& t : folder.tensors) {
    if (!t.name.ends_with("_scale_inv")) continue;
    std::vector<float> scales = to_floats(t);
    for (float& s : scales) s = std::exp2(std::round(std::log2(s)));
    folder.give(t, scales);
    ++seen;
  }
  ASSERT_GT(seen, 10);
  folder.config.find("quantization_config")->set("scale_fmt", "ue8m0");
  const Model power = folder.load();
  EXPECT_EQ(power.weights.layers[0].k_b.format, Format::bf16);  // exact there

  AlteredFolder other("deepseek_v3_fp8");
  const Model any = other.load();
  EXPECT_EQ(any.weights.layers[0].k_b.format, Format::f32);
}

// The two parts of kv_b are those of its values, also where a head's rows cross a block of scales.
TEST(HfModel, LatentMatricesOfFp8) {
  AlteredFolder folder("deepseek_v3_fp8");
  const Model model = folder.load();
  const MlaConfig& m = *model.config.mla;
  const int per_head = m.nope + m.v;
  ASSERT_NE(128 % per_head, 0);  // some head does cross
  const std::vector<float> bytes = to_floats(folder.tensor("model.layers.1.self_attn.kv_b_proj.weight")),
                           scales = to_floats(
                               folder.tensor("model.layers.1.self_attn.kv_b_proj.weight_scale_inv"));
  const auto value = [&](int row, int col) {
    return bytes[static_cast<size_t>(row * m.kv_lora + col)] *
           scales[static_cast<size_t>(row / 128 * scale_blocks(m.kv_lora) + col / 128)];
  };
  const LayerWeights& w = model.weights.layers[1];
  std::vector<float> row(static_cast<size_t>(std::max(m.nope, m.kv_lora)));
  for (int h = 0; h < model.config.heads; ++h) {
    for (int c = 0; c < m.kv_lora; ++c) {
      dequantize_row(w.k_b, h * m.kv_lora + c, row.data());
      for (int i = 0; i < m.nope; ++i) ASSERT_EQ(row[static_cast<size_t>(i)], value(h * per_head + i, c));
    }
    for (int i = 0; i < m.v; ++i) {
      dequantize_row(w.v_b, h * m.v + i, row.data());
      for (int c = 0; c < m.kv_lora; ++c)
        ASSERT_EQ(row[static_cast<size_t>(c)], value(h * per_head + m.nope + i, c));
    }
  }
}

TEST(HfModel, MissingAndMisshapenScalesAreNamed) {
  const std::string name = "model.layers.0.mlp.gate_proj.weight_scale_inv";
  {
    AlteredFolder folder("deepseek_v3_fp8");
    folder.drop(name);
    expect_says(folder.refusal(), name);
  }
  {
    AlteredFolder folder("deepseek_v3_fp8");  // one scale for all, where 2 x 2 blocks need four
    TensorView& t = folder.tensor(name);
    t.shape = {1, 1};
    folder.give(t, std::vector<float>{1});
    const std::string text = folder.refusal();
    expect_says(text, name);
    expect_says(text, "expected shape [2, 2]");
  }
  {
    AlteredFolder folder("deepseek_v3_fp8");
    TensorView& t = folder.tensor(name);
    folder.give(t, std::vector<float>{1, 1, NAN, 1});
    expect_says(folder.refusal(), "model.layers.0.mlp.gate_proj.weight");
  }
  {
    AlteredFolder folder("deepseek_v3");  // scales of a weight that has none are not passed over
    TensorView extra = folder.tensor("model.layers.0.mlp.gate_proj.weight");
    extra.name += "_scale_inv";
    extra.shape = {1, 1};
    folder.give(extra, std::vector<float>{1});
    folder.tensors.push_back(extra);
    expect_says(folder.refusal(), name);
  }
}

TEST(HfModel, NanBytesAreNamed) {
  AlteredFolder folder("deepseek_v3_fp8");
  TensorView& t = folder.tensor("model.layers.1.mlp.experts.3.up_proj.weight");
  std::string bytes(as_text(t.bytes));
  bytes[5000] = '\x7f';
  bytes[5001] = '\xff';
  folder.give(t, bytes);
  const std::string text = folder.refusal();
  expect_says(text, "model.layers.1.mlp.experts.3.up_proj.weight");
  expect_says(text, "2 NaN bytes");
}

TEST(HfModel, OtherQuantisationsAreRefused) {
  for (const auto& [field, value] :
       std::vector<std::pair<const char*, Json>>{{"quant_method", Json("awq")},
                                                 {"fmt", Json("e5m2")},
                                                 {"weight_block_size", Json(JsonArray{Json(64), Json(64)})},
                                                 {"activation_scheme", Json("static")},
                                                 {"bits", Json(4)}}) {
    AlteredFolder folder("deepseek_v3_fp8");
    folder.config.find("quantization_config")->set(field, value);
    expect_says(folder.refusal(), fmt::format("config.json: quantization_config: field '{}'", field));
  }
}

TEST(HfModel, LayersTheConfigDoesNotCountAreNamed) {
  AlteredFolder folder("llama");
  folder.config.set("num_hidden_layers", 2);
  expect_says(folder.refusal(), "model.layers.2.");
}

TEST(HfModel, MultiTokenPredictionLayerMayBeAbsentOrUncounted) {
  AlteredFolder folder("deepseek_v3_mtp");
  EXPECT_EQ(folder.load().config.mtp_layers, 1);
  folder.config.set("num_nextn_predict_layers", 0);
  expect_says(folder.refusal(), "model.layers.2.");
  folder.config.set("num_nextn_predict_layers", 1);
  std::erase_if(folder.tensors, [](const TensorView& t) { return t.name.starts_with("model.layers.2."); });
  EXPECT_EQ(folder.load().config.mtp_layers, 0);
}

TEST(HfModel, ADryRunCountsWhatALoadMakes) {
  for (const char* name : kGoldenModels) {
    LoadOptions dry;
    dry.dry = true;
    const Model counted = load_model(golden_folder(name), dry), made = load_model(golden_folder(name));
    EXPECT_EQ(counted.made_bytes, made.made_bytes) << name;
    EXPECT_EQ(counted.made_for_layout, made.made_for_layout) << name;
    EXPECT_EQ(counted.made.taken(), 0) << name;
    EXPECT_LE(made.made.taken(), made.made_bytes) << name;
  }
}

}  // namespace
}  // namespace minke
