// The tokenizers of tests/golden against their reference ids.

#include <cstring>

#include <gtest/gtest.h>

#include "formats/safetensors.h"
#include "text/golden_tokenizers.h"

namespace minke {
namespace {

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    tokenizer_ = golden_tokenizer(GetParam());
    if (!tokenizer_)
      GTEST_SKIP() << "no tokenizer for " << GetParam() << ": run tools/fetch_llama3_tokenizer.sh";
  }
  const Tokenizer* tokenizer_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Tokenizers, Golden, testing::Values("deepseek_v3", "qwen2", "llama3", "smollm"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(Golden, EncodesAndDecodesAsTheReference) {
  int cases = 0, with_added = 0;
  for (const Json& c : read_lines(kGolden / "tokenizer" / GetParam() / "cases.jsonl")) {
    const std::string& text = c.at("text").as_string();
    const std::vector<Token> ids = tokens_of(c.at("ids"));
    EXPECT_EQ(tokenizer_->encode(text), ids) << text;
    EXPECT_EQ(tokenizer_->decode(ids), c.at("decoded").as_string()) << text;
    ++cases;
    if (const Json* as_text = c.find("ids_special_as_text")) {
      EXPECT_EQ(tokenizer_->encode(text, Added::special_as_text), tokens_of(*as_text)) << text;
      EXPECT_EQ(tokenizer_->encode(text, Added::none), tokens_of(c.at("ids_no_added"))) << text;
      ++with_added;
    }
  }
  EXPECT_EQ(cases, 300);
  EXPECT_EQ(with_added, 20);
}

TEST_P(Golden, StreamsWhatDecodeGives) {
  for (const Json& c : read_lines(kGolden / "tokenizer" / GetParam() / "cases.jsonl")) {
    Detokenizer detokenizer(*tokenizer_);
    std::string text;
    for (const Token token : tokens_of(c.at("ids"))) {
      const std::string more = detokenizer.push(token);
      EXPECT_NO_THROW(tokenizer_->encode(more)) << "half a character in " << c.at("text").as_string();
      text += more;
    }
    EXPECT_EQ(text + detokenizer.finish(), c.at("decoded").as_string());
  }
}

class GivenText : public testing::TestWithParam<std::pair<const char*, const char*>> {};

INSTANTIATE_TEST_SUITE_P(Templates, GivenText,
                         testing::Values(std::pair("deepseek_v3", "deepseek_v3"),
                                         std::pair("deepseek_v3.1", "deepseek_v3"),
                                         std::pair("deepseek_v3.2", "deepseek_v3"),
                                         std::pair("qwen2.5_coder", "qwen2"), std::pair("qwen3", "qwen2"),
                                         std::pair("smollm2", "smollm"), std::pair("llama3", "llama3")),
                         [](const auto& p) {
                           std::string name = p.param.first;
                           for (char& c : name)
                             if (c == '.') c = '_';
                           return name;
                         });

TEST_P(GivenText, SpeaksInNoAddedTokens) {
  const Tokenizer* tokenizer = golden_tokenizer(GetParam().second);
  if (!tokenizer) GTEST_SKIP() << "run tools/fetch_llama3_tokenizer.sh";
  const Json file = parse_json(read_file(kGolden / "chat" / GetParam().first / "cases.json"));
  int cases = 0;
  for (const Json& c : file.at("cases").as_array()) {
    const Json* json = c.find("pieces");
    if (!json) continue;
    Pieces pieces;
    for (const Json& piece : json->as_array())
      pieces.push_back({piece.as_array()[0].as_string() == "given", piece.as_array()[1].as_string()});
    EXPECT_EQ(tokenizer->encode(pieces), tokens_of(c.at("ids"))) << c.at("name").as_string();
    EXPECT_EQ(plain(pieces), c.at("rendered").as_string());
    ++cases;
  }
  EXPECT_EQ(cases, 6);
}

// What published models were run on.
TEST(RealModels, ReadTheirTextsAsTheReference) {
  const std::string text = read_file(kGolden / "real/text.txt");
  for (const auto& [model, name] :
       {std::pair("smollm2-135m-q4_1", "smollm"), std::pair("qwen2.5-coder-0.5b-q4_k_m", "qwen2")}) {
    const Tokenizer& tokenizer = *golden_tokenizer(name);
    const Safetensors file = Safetensors::open(kGolden / "real" / (std::string(model) + ".safetensors"));
    const auto read = [&](const char* key) {
      const TensorView& tensor = *file.tensor(key);
      std::vector<int64_t> ids(static_cast<size_t>(tensor.count()));
      std::memcpy(ids.data(), tensor.bytes.data(), tensor.bytes.size());
      return std::vector<Token>(ids.begin(), ids.end());
    };
    std::vector<Token> tokens = tokenizer.encode(text);
    tokens.resize(256);
    EXPECT_EQ(tokens, read("input_ids")) << model;
    const std::vector<Token> chat = read("chat_ids");
    EXPECT_EQ(tokenizer.encode(tokenizer.decode(chat)), chat) << model;
  }
}

}  // namespace
}  // namespace minke
