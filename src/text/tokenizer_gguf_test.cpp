#include <functional>

#include <gtest/gtest.h>

#include "formats/gguf_writer.h"
#include "formats/test_files.h"
#include "text/golden_tokenizers.h"
#include "text/small_tokenizer.h"

namespace minke {
namespace {

// The tokenizer.* keys of a GGUF file.
struct Keys {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::map<std::string, std::string> texts{{"tokenizer.ggml.model", "gpt2"}};
  std::map<std::string, int64_t> ids;
  std::map<std::string, bool> flags;

  Keys(const Json& json, const std::string& pre) {
    texts["tokenizer.ggml.pre"] = pre;
    const auto place = [&](const std::string& text, const Json& id, int32_t type) {
      const auto i = static_cast<size_t>(id.as_int());
      if (i >= tokens.size()) tokens.resize(i + 1), types.resize(i + 1);
      tokens[i] = text;
      types[i] = type;
    };
    for (const auto& [text, id] : json.at("model").at("vocab").as_object()) place(text, id, 1);
    for (const Json& token : json.at("added_tokens").as_array())
      place(token.at("content").as_string(), token.at("id"), token.at("special").as_bool() ? 3 : 4);
    for (const Json& merge : json.at("model").at("merges").as_array())
      merges.push_back(merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
  }

  Tokenizer load() const {
    const TemporaryFolder folder;
    const fs::path path = folder / "sample.gguf";
    GgufWriter writer(path);
    for (const auto& [key, text] : texts) writer.add(key, {GgufType::string, std::string_view(text)});
    for (const auto& [key, id] : ids) writer.add(key, {GgufType::i64, id});
    for (const auto& [key, flag] : flags) writer.add(key, {GgufType::boolean, flag});
    if (!tokens.empty()) writer.add("tokenizer.ggml.tokens", tokens);
    if (!types.empty()) writer.add("tokenizer.ggml.token_type", types);
    if (!merges.empty()) writer.add("tokenizer.ggml.merges", merges);
    writer.commit();
    return Tokenizer::from_gguf(Gguf::open(path));
  }
};

Tokenizer load_with(const std::function<void(Keys&)>& change) {
  Keys keys(small_tokenizer(), "smollm");
  change(keys);
  return keys.load();
}

void refused(const std::function<void(Keys&)>& change, std::initializer_list<std::string_view> parts) {
  const std::string what = error_of([&] { load_with(change); });
  expect_says(what, "sample.gguf: ");
  for (const std::string_view part : parts) expect_says(what, part);
}

TEST(TokenizerGguf, GivesTheIdsOfTheTokenizerJson) {
  for (const auto& [name, pre] : {std::pair("smollm", "smollm"), std::pair("qwen2", "qwen2")}) {
    fs::path file = kGolden / "tokenizer" / name / "tokenizer.json";
    if (!fs::exists(file)) file += ".gz";
    Keys keys(parse_json(read_any(file)), pre);
    keys.tokens.push_back("[PAD]");
    keys.types.push_back(5);
    const Tokenizer tokenizer = keys.load();
    EXPECT_EQ(tokenizer.pre_name(), pre);
    EXPECT_EQ(tokenizer.size(), static_cast<int>(keys.tokens.size()));
    EXPECT_TRUE(tokenizer.is_unused(tokenizer.size() - 1));
    for (const Json& c : read_lines(kGolden / "tokenizer" / name / "cases.jsonl")) {
      const std::string& text = c.at("text").as_string();
      EXPECT_EQ(tokenizer.encode(text), tokens_of(c.at("ids"))) << text;
      EXPECT_EQ(tokenizer.decode(tokens_of(c.at("ids"))), c.at("decoded").as_string()) << text;
      if (const Json* as_text = c.find("ids_special_as_text")) {
        EXPECT_EQ(tokenizer.encode(text, Added::special_as_text), tokens_of(*as_text)) << text;
      }
    }
  }
}

TEST(TokenizerGguf, ReadsItsKeys) {
  const Tokenizer tokenizer = load_with([](Keys& keys) {
    keys.ids = {{"tokenizer.ggml.bos_token_id", 265},   {"tokenizer.ggml.eos_token_id", 266},
                {"tokenizer.ggml.eot_token_id", 267},   {"tokenizer.ggml.eom_token_id", 0xFFFFFFFF},
                {"tokenizer.ggml.fim_pre_token_id", 1}, {"tokenizer.ggml.suffix_token_id", 2},
                {"tokenizer.ggml.fim_mid_token_id", 3}};
    keys.flags = {{"tokenizer.ggml.add_bos_token", true}};
    keys.texts["tokenizer.chat_template"] = "A";
    keys.texts["tokenizer.chat_template.tool_use"] = "B";
    keys.tokens.push_back("[PAD269]");
    keys.types.push_back(5);
  });
  EXPECT_EQ(tokenizer.bos(), 265);
  EXPECT_EQ(tokenizer.eos(), 266);
  EXPECT_EQ(tokenizer.end_tokens(), (std::vector<Token>{266, 267}));
  EXPECT_EQ(tokenizer.fim(), (FimTokens{1, 2, 3}));
  EXPECT_TRUE(tokenizer.add_bos());
  EXPECT_EQ(tokenizer.chat_template(), "A");
  EXPECT_EQ(tokenizer.chat_template("tool_use"), "B");
  EXPECT_TRUE(tokenizer.is_special(265));
  EXPECT_TRUE(tokenizer.is_added(267) && !tokenizer.is_special(267));
  EXPECT_TRUE(tokenizer.is_unused(269) && !tokenizer.is_added(269));
  for (const Token token : tokenizer.encode("[PAD269]")) EXPECT_LT(token, 256);
}

TEST(TokenizerGguf, ImpliesWhatNamesImply) {
  const auto with_pre = [](const char* pre) {
    return load_with([pre](Keys& keys) {
      keys.texts["tokenizer.ggml.pre"] = pre;
      keys.ids["tokenizer.ggml.bos_token_id"] = 265;
    });
  };
  const auto size = [](const Tokenizer& tokenizer, const char* text) {
    return tokenizer.encode(text).size();
  };
  EXPECT_EQ(with_pre("llama3").pre_name(), "llama-bpe");
  EXPECT_TRUE(with_pre("llama3").add_bos());
  EXPECT_FALSE(with_pre("qwen2").add_bos());
  EXPECT_EQ(size(with_pre("qwen2"), "e\u0301"), 1u);
  EXPECT_GT(size(with_pre("deepseek-r1-qwen"), "e\u0301"), 1u);
}

TEST(TokenizerGguf, NamesWhatItCannotRead) {
  refused([](Keys& keys) { keys.texts["tokenizer.ggml.model"] = "llama"; },
          {"tokenizer.ggml.model", "'llama' is not supported", "choose a model"});
  refused([](Keys& keys) { keys.texts.erase("tokenizer.ggml.model"); },
          {"tokenizer.ggml.model", "no tokenizer"});
  refused([](Keys& keys) { keys.texts["tokenizer.ggml.pre"] = "viking"; },
          {"tokenizer.ggml.pre", "'viking' is unknown", "deepseek-v3, qwen2"});
  refused([](Keys& keys) { keys.texts.erase("tokenizer.ggml.pre"); },
          {"tokenizer.ggml.pre: missing", "qwen2"});
  refused([](Keys& keys) { keys.tokens.clear(); }, {"tokenizer.ggml.tokens: missing"});
  refused([](Keys& keys) { keys.merges.clear(); }, {"tokenizer.ggml.merges: missing"});
  refused([](Keys& keys) { keys.types.pop_back(); }, {"268 types for 269 tokens"});
  refused([](Keys& keys) { keys.types[7] = 9; }, {"tokenizer.ggml.token_type", "token 7 is of type 9"});
  refused([](Keys& keys) { keys.merges.push_back("ab"); }, {"tokenizer.ggml.merges: merge 9 is 'ab'"});
  refused([](Keys& keys) { keys.merges.push_back("a q q"); }, {"merge 9 is 'a q q'"});
  refused([](Keys& keys) { keys.merges.push_back("a z"); }, {"merge 9 ('a' and 'z') needs the piece 'az'"});
  refused([](Keys& keys) { keys.tokens[9] = "a"; }, {"is 'a', and so is token"});
  refused([](Keys& keys) { keys.tokens[266] = "hello"; }, {"is 'hello', and so is token 264"});
  refused([](Keys& keys) { keys.ids["tokenizer.ggml.eos_token_id"] = 269; },
          {"tokenizer.ggml.eos_token_id: token 269 does not exist; there are 269"});
  refused([](Keys& keys) { keys.ids["tokenizer.ggml.bos_token_id"] = -7; }, {"tokenizer.ggml.bos_token_id"});
}

}  // namespace
}  // namespace minke
