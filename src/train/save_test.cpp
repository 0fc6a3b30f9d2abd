#include "train/save.h"

#include "model/convert.h"
#include "model/test_models.h"
#include "train/test_train.h"

namespace minke {
namespace {

void expect_same_weights(const Model& a, const Model& b, const std::string& what) {
  const Parameters first = parameters_of(a), second = parameters_of(b);
  ASSERT_EQ(first.values().size(), second.values().size()) << what;
  EXPECT_TRUE(std::ranges::equal(first.values(), second.values())) << what;
}

fs::path to_gguf(const fs::path& folder, const fs::path& target) {
  const Model model = load_model(folder);
  ConversionOptions options;
  options.source = "trained";
  EXPECT_TRUE(write_conversion(model, plan_conversion(model, options), target, {}).whole);
  return target;
}

// Every golden model, as if it had been trained by no step at all: the folder holds the same model, the
// reference verifies it, and so it is with the GGUF file made of it. From that file it comes back to the same
// folder.
TEST(Save, FoldersAndGgufFilesHoldTheTrainedModel) {
  for (const char* name :
       {"llama", "qwen2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32", "deepseek_v3_mtp"}) {
    const TemporaryFolder folder;
    const Model model = load_model(golden_folder(name));
    const Parameters parameters = parameters_of(model);
    save_model(folder / "model", model.config, parameters.weights(), Format::f32, {});
    const Model saved = load_model(folder / "model");
    expect_same_weights(saved, model, name);
    VerifyOptions options;
    options.threads = 2;
    expect_verified(saved, golden_tensors(name), options, name);

    const Model gguf = load_model(to_gguf(folder / "model", folder / "model.gguf"));
    expect_verified(gguf, golden_tensors(name), options, std::string(name) + " as GGUF");
    const Parameters from_gguf = parameters_of(gguf);
    save_model(folder / "again", gguf.config, from_gguf.weights(), Format::f32, {});
    expect_same_weights(load_model(folder / "again"), model, std::string(name) + " back from GGUF");
  }
}

TEST(Save, Bf16RoundsMatricesAndFilesLieBeside) {
  const TemporaryFolder folder;
  write_text(folder / "tokenizer.json", "{}");
  const Model model = load_model(golden_folder("deepseek_v3_mtp"));
  const Parameters parameters = parameters_of(model);
  const fs::path files[] = {folder / "tokenizer.json"};
  save_model(folder / "model", model.config, parameters.weights(), Format::bf16, files);
  EXPECT_EQ(read_file(folder / "model" / "tokenizer.json"), "{}");
  const Safetensors saved = Safetensors::open_folder(folder / "model");
  EXPECT_EQ(saved.tensor("model.embed_tokens.weight")->format, Format::bf16);
  EXPECT_EQ(saved.tensor("model.norm.weight")->format, Format::f32);
  const std::vector<float> values = to_floats(*saved.tensor("model.embed_tokens.weight"));
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(values[i], bf16_to_f32(f32_to_bf16(parameters.weights().embed.f32()[i])));
}

TEST(Save, AdaptersAsPeftNamesThem) {
  const TemporaryFolder folder;
  const Config config = load_model(golden("train/llama")).config;
  const LoraConfig lora{4, 8};
  const Adapters adapters = random_adapters(config, lora, 3);
  save_adapters(folder / "adapter", config, lora, adapters, "base");
  const Safetensors saved = Safetensors::open(folder / "adapter" / "adapter_model.safetensors");
  EXPECT_EQ(saved.tensors().size(), 8u);
  const TensorView* a = saved.tensor("base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{4, 64}));
  EXPECT_EQ(to_floats(*a)[5], adapters.layers()[1].wv.a.f32()[5]);
  const Json json = parse_json(read_file(folder / "adapter" / "adapter_config.json"));
  EXPECT_EQ(json.at("r").as_int(), 4);
  EXPECT_EQ(json.at("peft_type").as_string(), "LORA");
}

// A GGUF file keeps the rows of Llama's queries in another order than the folder its adapters are for.
TEST(Save, AdaptersOfAGgufModelFitItsFolder) {
  const TemporaryFolder folder;
  const fs::path base = golden("train/llama");
  const Model model = load_model(to_gguf(base, folder / "base.gguf"));
  const Config& c = model.config;
  const LoraConfig lora{4, 8};
  const Adapters adapters = random_adapters(c, lora, 3);
  Random random(4);
  for (const LayerAdapters& layer : adapters.layers())
    for (const Mat& b : {layer.wq.b, layer.wv.b})
      for (int64_t i = 0; i < int64_t{b.rows} * b.cols; ++i) data(b)[i] = random.normal();
  const Parameters merged = parameters_of(model);
  ThreadPool pool(2);
  const Context ctx{pool, kernels_for(supported_isas().back()), Comm{}};
  merge_adapters(ctx, adapters, merged.weights());
  save_model(folder / "merged", c, merged.weights(), Format::f32, {});
  save_adapters(folder / "adapter", c, lora, adapters, "base");

  const Safetensors saved = Safetensors::open(folder / "adapter" / "adapter_model.safetensors"),
                    whole = Safetensors::open_folder(folder / "merged"),
                    before = Safetensors::open_folder(base);
  for (const std::string matrix : {"q_proj", "v_proj"}) {
    const std::string name = "model.layers.1.self_attn." + matrix;
    const std::vector<float> a = floats(saved, "base_model.model." + name + ".lora_A.weight"),
                             b = floats(saved, "base_model.model." + name + ".lora_B.weight"),
                             w = floats(before, name + ".weight");
    std::vector<float> expected(w.size());
    const size_t cols = static_cast<size_t>(c.dim);
    for (size_t i = 0; i < w.size(); ++i) {
      double sum = 0;
      for (size_t k = 0; k < 4; ++k) sum += double{b[i / cols * 4 + k]} * a[k * cols + i % cols];
      expected[i] = static_cast<float>(w[i] + 2 * sum);
    }
    EXPECT_LE(distance(expected, floats(whole, name + ".weight")).difference, 1e-5) << matrix;
  }
}

}  // namespace
}  // namespace minke
