#include "samples.h"

#include <numeric>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/gguf_writer.h"
#include "model/instance.h"
#include "plan/counts.h"
#include "plan/memory.h"
#include "text/golden_tokenizers.h"
#include "text/small_tokenizer.h"

namespace minke {
namespace {

// model.layers.1.self_attn.q_proj.weight -> blk.1.attn_q.weight
std::string gguf_name(const std::string& name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"model.layers", "blk"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"}};
  std::string out = name;
  for (const auto& [from, to] : kNames)
    if (const size_t at = out.find(from); at != out.npos) out.replace(at, from.size(), to);
  return out;
}

void add_small_tokenizer(GgufWriter& writer, size_t vocab) {
  const Json json = small_tokenizer();
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  for (const auto& [text, id] : json.at("model").at("vocab").as_object()) {
    tokens.push_back(text);
    types.push_back(1);
  }
  for (const Json& token : json.at("added_tokens").as_array()) {
    tokens.push_back(token.at("content").as_string());
    types.push_back(token.at("special").as_bool() ? 3 : 4);
  }
  for (const Json& merge : json.at("model").at("merges").as_array())
    merges.push_back(merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
  while (tokens.size() < vocab) {
    tokens.push_back(fmt::format("<unused{}>", tokens.size()));
    types.push_back(5);
  }
  writer.add("tokenizer.ggml.model", {GgufType::string, std::string_view("gpt2")});
  writer.add("tokenizer.ggml.pre", {GgufType::string, std::string_view("qwen2")});
  writer.add("tokenizer.ggml.tokens", tokens);
  writer.add("tokenizer.ggml.token_type", types);
  writer.add("tokenizer.ggml.merges", merges);
  writer.add("tokenizer.ggml.eos_token_id", {GgufType::u32, uint64_t{tokens.size() - 1}});
  writer.add("tokenizer.chat_template", {GgufType::string, std::string_view("{{ messages[0].content }}")});
}

}  // namespace

void copy_golden_model(const std::string& name, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(kGoldenFolder / "models" / name))
    if (entry.path().filename() != "golden.safetensors") fs::copy(entry.path(), to / entry.path().filename());
}

void write_small_gguf(const fs::path& path) {
  const Safetensors model = Safetensors::open_folder(kGoldenFolder / "models/qwen2");
  GgufWriter writer(path);
  writer.add("general.architecture", {GgufType::string, std::string_view("qwen2")});
  writer.add("general.name", {GgufType::string, std::string_view("small")});
  for (const auto& [key, value] :
       {std::pair("block_count", 3), std::pair("context_length", 2048), std::pair("embedding_length", 64),
        std::pair("feed_forward_length", 160), std::pair("attention.head_count", 4),
        std::pair("attention.head_count_kv", 2)})
    writer.add(fmt::format("qwen2.{}", key), {GgufType::u32, static_cast<uint64_t>(value)});
  writer.add("qwen2.rope.freq_base", {GgufType::f32, 1e6});
  writer.add("qwen2.attention.layer_norm_rms_epsilon", {GgufType::f32, 1e-6});
  add_small_tokenizer(writer, static_cast<size_t>(model.tensor("model.embed_tokens.weight")->shape[0]));
  for (TensorView tensor : model.tensors()) {
    tensor.name = gguf_name(tensor.name);
    writer.declare(tensor);
  }
  for (const TensorView& tensor : model.tensors()) writer.write(tensor.bytes);
  writer.commit();
}

Json smaller_tokenizer(const std::string& name, size_t words) {
  const fs::path folder = kGoldenFolder / "tokenizer" / name;
  const fs::path plain = folder / "tokenizer.json";
  Json json = parse_json(read_any(fs::exists(plain) ? plain : folder / "tokenizer.json.gz"));
  JsonObject vocab;
  std::set<std::string> kept;
  for (const auto& [text, id] : json.at("model").at("vocab").as_object())
    if (id.as_int() < static_cast<int64_t>(words)) {
      kept.insert(text);
      vocab.emplace_back(text, id);
    }
  JsonArray merges, added;
  for (const Json& merge : json.at("model").at("merges").as_array()) {
    std::string left, right;
    if (merge.is_array()) {
      left = merge.as_array()[0].as_string();
      right = merge.as_array()[1].as_string();
    } else {
      const std::string& text = merge.as_string();
      left = text.substr(0, text.find(' '));
      right = text.substr(text.find(' ') + 1);
    }
    if (kept.contains(left) && kept.contains(right) && kept.contains(left + right)) merges.push_back(merge);
  }
  auto next = static_cast<int64_t>(words);
  for (Json token : json.at("added_tokens").as_array()) {
    if (added.size() == 24) break;
    if (token.at("id").as_int() >= static_cast<int64_t>(words)) token.set("id", next++);
    added.push_back(std::move(token));
  }
  json.find("model")->set("vocab", std::move(vocab));
  json.find("model")->set("merges", std::move(merges));
  json.set("added_tokens", std::move(added));
  json.set("post_processor", nullptr);  // it names tokens by their old ids
  return json;
}

void use_tokenizer(const Tokenizer& tokenizer) {
  constexpr std::string_view kText = "Hello, the 12345 world's  \n\n\té 中文字 😀 <think></s>";
  for (const Added added : {Added::all, Added::none}) {
    const std::vector<Token> tokens = tokenizer.encode(kText, added);
    for (const Token token : tokens) ASSERT_TRUE(token >= 0 && token < tokenizer.size());
    Detokenizer detokenizer(tokenizer);
    std::string text;
    for (const Token token : tokens) text += detokenizer.push(token);
    EXPECT_EQ(text + detokenizer.finish(), tokenizer.decode(tokens));
  }
}

void use_model(const Model& model) {
  InstanceOptions options;
  options.limits.threads = 1;
  options.limits.rows = 4;
  options.limits.context = 64;
  const Counts counts = count(model.config);
  EXPECT_GT(counts.total, 0);
  EXPECT_GE(counts.total, counts.active);
  const MemoryPlan plan = plan_memory(model, resolved_limits(model, options));
  EXPECT_GT(plan.total(), 0);
  if (plan.state + plan.cache > int64_t{1} << 28) return;
  Instance instance(model, options);
  KvView view;
  ASSERT_TRUE(instance.kv().reserve(view, 3));
  const std::vector<Token> tokens = {0, model.config.vocab / 2, model.config.vocab - 1};
  const std::vector<SequenceSlice> slices = {
      {.kv = &view, .first = 0, .count = 3, .position = 0, .want = Want::last_logits}};
  instance.forward({.tokens = tokens, .sequences = slices, .given = {}});
  EXPECT_EQ(view.length, 3);
  // Damaged weights may give anything; what there is can be read.
  const float* logits = instance.state().logits;
  volatile float sum = std::accumulate(logits, logits + model.config.vocab, 0.0f);
  (void)sum;
}

}  // namespace minke
