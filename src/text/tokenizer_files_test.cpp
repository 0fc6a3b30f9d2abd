// Tokenizers from tokenizer.json to GGUF and back give the same ids.

#include "text/tokenizer_files.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/golden_tokenizers.h"
#include "text/pre_tokenizer.h"

namespace minke {
namespace {

fs::path golden_file(const std::string& name) {
  const fs::path folder =
      name == "llama3" ? fs::path(MINKE_CACHE_DIR) / "llama3" : kGolden / "tokenizer" / name;
  fs::path file = folder / "tokenizer.json";
  if (!fs::exists(file)) file += ".gz";
  return file;
}

// The header of a GGUF file with the tokenizer, as bytes.
std::string as_gguf(const TokenizerFiles& files, int vocab) {
  GgufHeader header;
  files.add_to(header, vocab, 1, 2);
  return header.bytes();
}

void expect_ids(const Tokenizer& tokenizer, const std::string& name, const char* what) {
  for (const Json& c : read_lines(kGolden / "tokenizer" / name / "cases.jsonl")) {
    const std::string& text = c.at("text").as_string();
    ASSERT_EQ(tokenizer.encode(text), tokens_of(c.at("ids"))) << what << ": " << text;
    ASSERT_EQ(tokenizer.decode(tokens_of(c.at("ids"))), c.at("decoded").as_string()) << what;
    if (const Json* as_text = c.find("ids_special_as_text")) {
      ASSERT_EQ(tokenizer.encode(text, Added::special_as_text), tokens_of(*as_text)) << what << ": " << text;
      ASSERT_EQ(tokenizer.encode(text, Added::none), tokens_of(c.at("ids_no_added"))) << what << ": " << text;
    }
  }
}

class TokenizerTravels : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Tokenizers, TokenizerTravels,
                         testing::Values("deepseek_v3", "qwen2", "llama3", "smollm"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(TokenizerTravels, ThereAndBack) {
  const fs::path file = golden_file(GetParam());
  if (!fs::exists(file)) GTEST_SKIP() << "run tools/fetch_llama3_tokenizer.sh";
  const Tokenizer first = Tokenizer::from_file(file);
  const std::string bytes = as_gguf(TokenizerFiles::read(file), first.size() + 10);
  const Gguf gguf = Gguf::parse(as_bytes(bytes), "tokenizer.gguf");
  const Tokenizer second = Tokenizer::from_gguf(gguf);
  EXPECT_EQ(second.size(), first.size() + 10);
  EXPECT_TRUE(second.is_unused(first.size() + 3));
  EXPECT_EQ(second.pre_name(), first.pre_name());
  EXPECT_EQ(second.add_bos(), first.add_bos());
  EXPECT_EQ(second.chat_template(), first.chat_template());
  if (first.eos()) {
    EXPECT_EQ(second.eos(), first.eos());
  }
  expect_ids(second, GetParam(), "GGUF");

  const TokenizerFiles back = TokenizerFiles::read(gguf);
  const Tokenizer third = Tokenizer::from_json(to_string(back.tokenizer_json()), "tokenizer.json",
                                               to_string(back.tokenizer_config(4096)));
  EXPECT_EQ(third.size(), first.size());
  EXPECT_EQ(third.pre_name(), first.pre_name());
  EXPECT_EQ(third.bos(), second.bos());
  EXPECT_EQ(third.eos(), second.eos());
  EXPECT_EQ(third.add_bos(), second.add_bos());
  EXPECT_EQ(third.end_tokens(), second.end_tokens());
  for (int id = 0; id < first.size(); ++id) ASSERT_EQ(third.is_special(id), first.is_special(id)) << id;
  expect_ids(third, GetParam(), "tokenizer.json");
}

TEST(TokenizerFiles, ControlTokensForOtherPrograms) {
  const fs::path file = golden_file("deepseek_v3");
  const std::string bytes = as_gguf(TokenizerFiles::read(file), 129280);
  const Gguf gguf = Gguf::parse(as_bytes(bytes), "tokenizer.gguf");
  const std::vector<int64_t> types = *gguf.integers("tokenizer.ggml.token_type");
  EXPECT_EQ(types.size(), 129280u);
  const Tokenizer tokenizer = Tokenizer::from_file(file);
  const auto type = [&](const char* text) {
    return types[static_cast<size_t>(tokenizer.find(text).value())];
  };
  EXPECT_EQ(type("<｜User｜>"), 3);
  EXPECT_EQ(type("<｜begin▁of▁sentence｜>"), 3);
  EXPECT_EQ(type("the"), 1);
  EXPECT_EQ(types.back(), 5);
}

TEST(TokenizerFiles, RulesWithoutAName) {
  Json json = parse_json(read_any(golden_file("smollm")));
  const auto refusal = [&] {
    const fs::path file =
        fs::temp_directory_path() / ("minke-tokenizer-" + std::to_string(::getpid()) + ".json");
    write_file(file, to_string(json));
    std::string text;
    try {
      as_gguf(TokenizerFiles::read(file), 49152);
    } catch (const Error& e) {
      text = e.what();
    }
    fs::remove(file);
    return text;
  };
  EXPECT_EQ(refusal(), "");
  json.set("normalizer", JsonObject{{"type", "Lowercase"}});
  EXPECT_NE(refusal().find("normalizer"), std::string::npos);
  json.set("normalizer", Json());
  json.set("pre_tokenizer",
           JsonObject{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}});
  EXPECT_NE(refusal().find("pre-tokeniser"), std::string::npos);
}

TEST(TokenizerFiles, MoreTokensThanRows) {
  try {
    as_gguf(TokenizerFiles::read(golden_file("smollm")), 1000);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("49152"), std::string::npos);
  }
}

// Patterns with characters or with escapes for them are the same rule.
TEST(PreTokenizerNames, EscapesAndCharacters) {
  EXPECT_EQ(with_plain_characters(R"(a\xB5\u01BA-\x{10400}\\u01BA\p{L}\x)"), "aµƺ-𐐀\\\\u01BA\\p{L}\\x");
  for (const char* name :
       {"deepseek-v3", "qwen2", "llama-bpe", "gpt-2", "smollm", "llama4", "deepseek-llm"}) {
    std::vector<SplitRule> rules = *known_split_rules(name);
    for (SplitRule& rule : rules) rule.pattern = with_plain_characters(rule.pattern);
    EXPECT_EQ(pre_name_of(rules), name);
  }
}

}  // namespace
}  // namespace minke
