#include "model/adapters.h"

#include <functional>

#include "kernels/isas.h"
#include "model/convert.h"
#include "model/test_models.h"

namespace minke {
namespace {

constexpr int kRank = 6;

// A folder as PEFT writes it, for the model of a Hugging Face folder, with random numbers. `change` may do
// something to it before it is written.
struct Folder {
  Json config = JsonObject{{"peft_type", "LORA"},
                           {"task_type", "CAUSAL_LM"},
                           {"base_model_name_or_path", "some/base"},
                           {"r", kRank},
                           {"lora_alpha", 15},
                           {"lora_dropout", 0.1},
                           {"bias", "none"},
                           {"use_dora", false},
                           {"modules_to_save", Json()},
                           {"rank_pattern", JsonObject{}},
                           {"init_lora_weights", true},
                           {"a_field_of_the_future", false}};
  std::vector<TensorView> tensors;
  std::vector<std::vector<float>> values;

  Folder(const Config& model, const std::vector<std::string_view>& targets) {
    JsonArray names;
    Random random(7);
    for (const std::string_view target : targets) {
      const AdaptedMatrix& m = *adapted_matrix(target);
      names.push_back(target);
      const MatrixShape shape = shape_of(model, m);
      for (int layer = 0; layer < model.layers; ++layer) {
        const std::string name =
            fmt::format("base_model.model.model.layers.{}.{}.{}.lora_", layer, m.block, m.name);
        add(name + "A.weight", kRank, shape.in, random);
        add(name + "B.weight", shape.out, kRank, random);
      }
    }
    config.set("target_modules", std::move(names));
  }

  void add(const std::string& name, int rows, int cols, Random& random) {
    std::vector<float>& v = values.emplace_back(static_cast<size_t>(rows) * static_cast<size_t>(cols));
    for (float& x : v) x = 0.15f * random.normal();
    tensors.push_back({.name = name, .shape = {rows, cols}});
  }

  void write(const fs::path& folder) {
    fs::create_directories(folder);
    write_text(folder / "adapter_config.json", to_string(config));
    for (size_t i = 0; i < tensors.size(); ++i)
      tensors[i].bytes = {reinterpret_cast<const std::byte*>(values[i].data()), values[i].size() * 4};
    save_safetensors(folder / "adapter_model.safetensors", tensors);
  }
};

LoadOptions with(const fs::path& adapters) {
  LoadOptions options;
  options.adapters = adapters;
  return options;
}

std::vector<float> logits_of(const Model& model, std::span<const Token> tokens) {
  const int n = static_cast<int>(tokens.size());
  InstanceOptions o;
  o.limits.rows = o.limits.context = o.limits.logit_rows = n;
  o.limits.threads = 2;
  o.limits.kv = KvFormat::f32;
  o.round_activations = false;
  Instance instance(model, o);
  KvView view = reserved(instance, n);
  const SequenceSlice slice{&view, 0, n, 0, Want::all_logits, n};
  instance.forward({tokens, {&slice, 1}, {}});
  const float* logits = instance.state().logits;
  return {logits, logits + int64_t{n} * model.config.vocab};
}

// W + scale B A in the place of W, for all that have an adapter, which go.
void merge(Model& model) {
  for (size_t layer = 0; layer < model.weights.adapters.size(); ++layer)
    for (const AdaptedMatrix& m : adapted_matrices()) {
      const Adapter& adapter = model.weights.adapters[layer].*m.adapter;
      if (!adapter) continue;
      Mat& w = model.weights.layers[layer].*m.weight;
      std::byte* to = model.made.take(int64_t{w.rows} * w.cols * 4);
      std::vector<float> row(static_cast<size_t>(w.cols)), a(row.size()),
          b(static_cast<size_t>(adapter.rank()));
      for (int r = 0; r < w.rows; ++r) {
        dequantize_row(w, r, row.data());
        dequantize_row(adapter.b, r, b.data());
        for (int k = 0; k < adapter.rank(); ++k) {
          dequantize_row(adapter.a, k, a.data());
          for (size_t i = 0; i < row.size(); ++i) row[i] += adapter.scale * b[static_cast<size_t>(k)] * a[i];
        }
        std::memcpy(to + int64_t{r} * w.cols * 4, row.data(), row.size() * 4);
      }
      w = {to, nullptr, Format::f32, w.rows, w.cols, int64_t{w.cols} * 4};
    }
  model.weights.adapters.clear();
}

double largest(std::span<const float> values) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::abs(double{v}));
  return most;
}
double difference(std::span<const float> a, std::span<const float> b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - b[i]));
  return most;
}

fs::path gguf_of(const fs::path& folder, const fs::path& target) {
  const Model model = load_model(folder);
  EXPECT_TRUE(write_conversion(model, plan_conversion(model, {}), target, {}).whole);
  return target;
}

TEST(Adapters, GiveTheLogitsOfTheMergedModel) {
  const TemporaryFolder folder;
  const std::vector<std::vector<std::string_view>> choices = {
      {"q_proj", "v_proj"},
      {"k_proj", "down_proj"},
      {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}};
  for (const char* name : {"llama", "qwen2"})
    for (const std::vector<std::string_view>& targets : choices) {
      const fs::path base = golden_folder(name), adapters = folder / "adapter";
      Folder(load_model(base).config, targets).write(adapters);
      Random random(3);
      Model plain = load_model(base), adapted = load_model(base, with(adapters));
      EXPECT_FLOAT_EQ((adapted.weights.adapters[0].*adapted_matrix(targets[0])->adapter).scale, 2.5f);
      const std::vector<Token> tokens = random_tokens(random, plain.config.vocab, 40);
      const std::vector<float> logits = logits_of(adapted, tokens);
      EXPECT_GT(difference(logits, logits_of(plain, tokens)), 0.02 * largest(logits)) << name;
      merge(adapted);
      EXPECT_LE(difference(logits, logits_of(adapted, tokens)), 2e-5 * largest(logits)) << name;

      // The same model as a GGUF file, which keeps Llama's queries and keys in another order.
      const Model gguf = load_model(gguf_of(base, folder / (std::string(name) + ".gguf")), with(adapters));
      EXPECT_LE(difference(logits, logits_of(gguf, tokens)), 2e-5 * largest(logits)) << name;
      fs::remove(folder / (std::string(name) + ".gguf"));
    }
}

TEST(Adapters, CountAsMadeAtLoad) {
  const TemporaryFolder folder;
  const fs::path base = golden_folder("llama");
  Folder(load_model(base).config, {"q_proj"}).write(folder.path());
  LoadOptions dry = with(folder.path());
  const Model model = load_model(base, dry);
  dry.dry = true;
  const Model planned = load_model(base, dry);
  EXPECT_EQ(planned.made_bytes, model.made_bytes);
  EXPECT_GE(model.made_bytes, load_model(base).made_bytes + int64_t{3} * kRank * (64 + 64) * 4);
  EXPECT_EQ(resolved_limits(planned, {}).adapter_rank, kRank);
  EXPECT_TRUE(resolved_limits(planned, {}).wide);
}

TEST(Adapters, MayDivideByTheRootOfTheRankAndLeaveLayersOut) {
  const TemporaryFolder folder;
  const fs::path base = golden_folder("llama");
  Folder some(load_model(base).config, {"q_proj", "up_proj"});
  some.config.set("use_rslora", true);
  some.config.set("layers_to_transform", JsonArray{Json(0), Json(2)});
  some.config.set("target_modules", "a pattern");
  for (size_t i = some.tensors.size(); i-- > 0;)
    if (some.tensors[i].name.find("layers.1.") != std::string::npos) {
      some.tensors.erase(some.tensors.begin() + static_cast<std::ptrdiff_t>(i));
      some.values.erase(some.values.begin() + static_cast<std::ptrdiff_t>(i));
    }
  some.write(folder.path());
  const Model model = load_model(base, with(folder.path()));
  EXPECT_FLOAT_EQ(model.weights.adapters[0].wq.scale, 15 / std::sqrt(float{kRank}));
  EXPECT_FALSE(model.weights.adapters[1].wq);
  EXPECT_TRUE(model.weights.adapters[2].up);
  EXPECT_FALSE(model.weights.adapters[2].wv);
}

// Says what is wrong with the folder that `change` made of a good one.
std::string error_after(const std::function<void(Folder&)>& change, const char* base = "llama") {
  const TemporaryFolder folder;
  Folder adapters(load_model(golden_folder("llama")).config, {"q_proj", "up_proj"});
  change(adapters);
  adapters.write(folder.path());
  const std::string text = error_of([&] { load_model(golden_folder(base), with(folder.path())); });
  expect_says(text, folder.path().string());
  return text;
}

TEST(Adapters, WhatIsNotComputedIsNamed) {
  const auto field = [](const char* key, const Json& value) {
    const std::string text = error_after([&](Folder& f) { f.config.set(key, value); });
    expect_says(text, fmt::format("field '{}'", key));
  };
  field("use_dora", true);
  field("bias", "all");
  field("fan_in_fan_out", true);
  field("modules_to_save", JsonArray{Json("lm_head")});
  field("rank_pattern", JsonObject{{"q_proj", 4}});
  field("alpha_pattern", JsonObject{{"q_proj", 4}});
  field("init_lora_weights", "pissa");
  field("a_field_of_the_future", true);
  field("target_modules", JsonArray{Json("q_proj"), Json("embed_tokens")});
  field("peft_type", "IA3");
  field("r", 0);
  field("lora_alpha", "many");
  expect_says(error_after([](Folder& f) { f.config = JsonArray{}; }), "is no JSON object");
}

TEST(Adapters, AnotherModelsAreNamed) {
  const auto none = [](Folder&) {};
  expect_says(error_after(none, "deepseek_v3"), "Llama and Qwen2");
  std::string text = error_after([](Folder& f) { f.config.set("r", kRank + 1); });
  expect_says(text, fmt::format("expected shape [{}, 64]", kRank + 1));
  expect_says(text, "some/base");
  text = error_after([](Folder& f) {
    for (TensorView& t : f.tensors)
      if (t.name.find("layers.2.") != std::string::npos)
        t.name.replace(t.name.find("layers.2."), 9, "layers.3.");
  });
  expect_says(text, "layers.2.self_attn.q_proj.lora_A.weight' is missing");
  text = error_after([](Folder& f) {
    Random random(1);
    f.add("base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", kRank, 64, random);
  });
  expect_says(text, "layers.3.mlp.up_proj");
  text = error_after([](Folder& f) {
    Random random(1);
    f.add("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", 1, 64, random);
  });
  expect_says(text, "lora_magnitude_vector");
}

TEST(Adapters, DamageIsNamed) {
  expect_says(error_after([](Folder& f) { f.values[3][5] = NAN; }), "not finite");
  expect_says(error_after([](Folder& f) {
                f.tensors.clear();
                f.values.clear();
              }),
              "is missing");
  const TemporaryFolder folder;
  const fs::path base = golden_folder("llama");
  const auto says = [&](const fs::path& adapters, std::string_view part) {
    expect_says(error_of([&] { load_model(base, with(adapters)); }), part);
  };
  says(folder / "nowhere", "is no folder");
  says(folder.path(), "holds no adapter_config.json");
  Folder(load_model(base).config, {"q_proj"}).write(folder.path());
  const std::string whole = read_file(folder / "adapter_model.safetensors");
  write_text(folder / "adapter_model.safetensors", whole.substr(0, whole.size() / 2));
  says(folder.path(), "adapter_model.safetensors");
  fs::remove(folder / "adapter_model.safetensors");
  says(folder.path(), "holds no adapter_model.safetensors");
  write_text(folder / "adapter_model.bin", "PK");
  says(folder.path(), "safetensors by default");
  write_text(folder / "adapter_config.json", "{");
  says(folder.path(), "adapter_config.json");
}

}  // namespace
}  // namespace minke
