// What is wrong is named, with its file, and where possible what would help.

#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "formats/gguf_writer.h"
#include "samples.h"
#include "text/chat.h"
#include "text/small_tokenizer.h"

namespace minke {
namespace {

template <typename F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

void expect_says(const std::string& what, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts)
    EXPECT_NE(what.find(part), what.npos) << "'" << part << "' is not in: " << what;
}

class NamedErrors : public testing::Test {
 protected:
  std::string load() const {
    return error_of([&] { use_model(load_model(folder_.path())); });
  }
  // config.json with a field changed. Fields of an object in it are named "rope_scaling.factor".
  std::string with_field(const std::string& model, const std::string& field, Json value) {
    const ScratchFolder folder;
    copy_golden_model(model, folder.path());
    Json config = parse_json(read_file(folder / "config.json"));
    const size_t dot = field.find('.');
    Json& object = dot == field.npos ? config : *config.find(field.substr(0, dot));
    object.set(dot == field.npos ? field : field.substr(dot + 1), std::move(value));
    folder.write("config.json", to_string(config));
    return error_of([&] { use_model(load_model(folder.path())); });
  }

  ScratchFolder folder_;
};

TEST_F(NamedErrors, ATruncatedGgufNamesTheFirstMissingTensorAndTheSizes) {
  const fs::path path = folder_ / "small.gguf";
  write_small_gguf(path);
  const auto whole = fs::file_size(path);
  fs::resize_file(path, whole / 2);
  expect_says(
      error_of([&] { load_model(path); }),
      {path.string(), "tensor 'blk.", "its data ends at byte ", fmt::format("the file at byte {}", whole / 2),
       "cut short", "of 38 tensors are not whole", "download it again"});
}

TEST_F(NamedErrors, ThePublishedTruncatedGguf) {
  const fs::path path = fs::path(MINKE_MODELS_DIR) / "r1-distill-qwen-7b.truncated.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << path.string() << " is not here";
  expect_says(error_of([&] { load_model(path); }),
              {path.string(), "tensor '", "the file at byte 99614720", "cut short", "download it again"});
}

// No number of a config may crash or hang anything, however large, small or of another type.
TEST_F(NamedErrors, EveryNumberOfEveryConfig) {
  int refused = 0, taken = 0;
  for (const auto& model : fs::directory_iterator(kGoldenFolder / "models")) {
    if (!model.is_directory()) continue;
    const Json config = parse_json(read_file(model.path() / "config.json"));
    std::vector<std::string> fields;
    for (const auto& [key, value] : config.as_object()) {
      if (value.is_number()) fields.push_back(key);
      if (!value.is_object()) continue;
      for (const auto& [inner, number] : value.as_object())
        if (number.is_number()) fields.push_back(key + "." + inner);
    }
    const ScratchFolder folder;
    copy_golden_model(model.path().filename().string(), folder.path());
    for (const std::string& field : fields)
      for (const Json& value :
           {Json(0), Json(-1), Json(1), Json(int64_t{INT32_MAX}), Json(int64_t{1} << 62), Json(1e300),
            Json(-1e-300), Json(0.5), Json("8"), Json(JsonArray{}), Json(JsonObject{})}) {
        Json changed = config;
        const size_t dot = field.find('.');
        Json& object = dot == field.npos ? changed : *changed.find(field.substr(0, dot));
        object.set(dot == field.npos ? field : field.substr(dot + 1), value);
        folder.write("config.json", to_string(changed));
        SCOPED_TRACE(fmt::format("{}: {} = {}", model.path().filename().string(), field, to_string(value)));
        Tally tally;
        attempt([&] { use_model(load_model(folder.path())); }, folder.path().string(), tally);
        refused += tally.refused;
        taken += tally.taken;
      }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(taken, 50);
}

TEST_F(NamedErrors, DimensionsOfZeroOrWithoutMeasure) {
  for (const auto& [model, field] :
       {std::pair("qwen2", "hidden_size"), std::pair("qwen2", "vocab_size"),
        std::pair("llama", "num_hidden_layers"), std::pair("llama", "num_attention_heads"),
        std::pair("llama", "num_key_value_heads"), std::pair("qwen2", "intermediate_size"),
        std::pair("deepseek_v3", "kv_lora_rank"), std::pair("deepseek_v3", "n_routed_experts"),
        std::pair("deepseek_v3", "num_experts_per_tok"), std::pair("deepseek_v3", "qk_rope_head_dim"),
        std::pair("deepseek_v32", "index_topk"), std::pair("llama4", "num_local_experts")})
    for (const Json& value : {Json(0), Json(int64_t{1} << 40)})
      expect_says(with_field(model, field, value), {"config.json", fmt::format("'{}'", field)});
}

TEST_F(NamedErrors, AnUnknownField) {
  expect_says(with_field("llama", "new_kind_of_norm", 3),
              {"config.json", "'new_kind_of_norm'", "--allow-field"});
  expect_says(with_field("llama", "architectures", Json(JsonArray{Json("MambaForCausalLM")})),
              {"config.json", "Mamba"});
}

TEST_F(NamedErrors, AMergeOfUnknownPieces) {
  Json json = small_tokenizer();
  json.find("model")->find("merges")->as_array().push_back(Json(JsonArray{Json("he"), Json("xylophone")}));
  expect_says(error_of([&] { Tokenizer::from_json(to_string(json), "tokenizer.json"); }),
              {"tokenizer.json", "merge", "xylophone"});
}

TEST_F(NamedErrors, ATemplateWithoutEndOrTooDeep) {
  const ChatPrompt prompt = read_chat_prompt(parse_json(R"([{"role": "user", "content": "x"}])"));
  const auto render = [&](const std::string& source) {
    return error_of([&] { ChatFormat::from_template(source, {}, "t.jinja").render(prompt); });
  };
  expect_says(render("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
              {"t.jinja", "line 1", "did not end"});
  expect_says(render("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}"), {"t.jinja", "line"});
  std::string nested, brackets = "{{ ";
  for (int i = 0; i < 10000; ++i) nested += "{% if true %}";
  brackets += std::string(10000, '(') + "1" + std::string(10000, ')') + " }}";
  expect_says(render(nested), {"t.jinja", "line"});
  expect_says(render(brackets), {"t.jinja", "line"});
}

TEST_F(NamedErrors, AFolderWithoutWeights) {
  copy_golden_model("qwen2", folder_.path());
  fs::remove(folder_ / "model.safetensors");
  expect_says(load(), {folder_.path().string(), "model.safetensors", "download"});
  expect_says(error_of([&] { load_model(folder_ / "nowhere"); }), {"nowhere", "No such file"});
}

TEST_F(NamedErrors, AMissingShard) {
  copy_golden_model("deepseek_v3", folder_.path());
  fs::remove(folder_ / "model-00002-of-00002.safetensors");
  expect_says(load(), {"model-00002-of-00002.safetensors", "missing", "download"});
}

TEST_F(NamedErrors, AShardOfAnotherModel) {
  copy_golden_model("deepseek_v3", folder_.path());
  const fs::path shard = folder_ / "model-00002-of-00002.safetensors";
  fs::remove(shard);
  fs::copy(kGoldenFolder / "models/llama/model.safetensors", shard);
  expect_says(load(), {shard.string(), "tensor '", "of one model"});
}

TEST_F(NamedErrors, TheWeightsOfAnotherModel) {
  copy_golden_model("llama", folder_.path());
  fs::remove(folder_ / "model.safetensors");
  fs::copy(kGoldenFolder / "models/qwen2/model.safetensors", folder_ / "model.safetensors");
  expect_says(load(), {folder_.path().string(), "'model."});
}

TEST_F(NamedErrors, NanBytesInFp8) {
  copy_golden_model("deepseek_v3_fp8", folder_.path());
  const fs::path path = folder_ / "model.safetensors";
  std::string bytes = read_file(path);
  const Safetensors file = Safetensors::parse(as_bytes(bytes), "f");
  const TensorView* fp8 = nullptr;
  for (const TensorView& tensor : file.tensors())
    if (tensor.dtype == DType::weights && tensor.format == Format::f8_e4m3) fp8 = &tensor;
  ASSERT_NE(fp8, nullptr);
  const std::string name = fp8->name;
  bytes[static_cast<size_t>(fp8->bytes.data() - as_bytes(bytes).data()) + fp8->bytes.size() - 1] = '\x7f';
  folder_.write("model.safetensors", bytes);
  expect_says(load(), {name, "NaN"});
}

}  // namespace
}  // namespace minke
