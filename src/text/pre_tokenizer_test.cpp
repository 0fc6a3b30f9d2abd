#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace minke {
namespace {

std::vector<std::string> pieces_of(const PreTokenizer& pre, std::string_view text) {
  PreTokenizer::Scratch scratch(pre);
  std::vector<std::string> pieces;
  pre.split(text, scratch, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

TEST(PreTokenizer, CutsAsTheReferenceDoes) {
  const std::string file = read_file(fs::path(MINKE_TESTS_DIR) / "golden/tokenizer/pre.jsonl");
  std::string name;
  std::optional<PreTokenizer> pre;
  int cases = 0;
  for (size_t at = 0, end; at < file.size(); at = end + 1, ++cases) {
    end = file.find('\n', at);
    const Json json = parse_json(std::string_view(file).substr(at, end - at));
    if (json.at("pre").as_string() != name) {
      name = json.at("pre").as_string();
      ASSERT_TRUE(known_split_rules(name)) << name;
      pre.emplace(*known_split_rules(name));
    }
    std::vector<std::string> expected;
    for (const Json& piece : json.at("pieces").as_array()) expected.push_back(piece.as_string());
    EXPECT_EQ(pieces_of(*pre, json.at("text").as_string()), expected)
        << name << ": " << json.at("text").as_string();
  }
  EXPECT_EQ(cases, 960);
}

std::vector<std::string> cut(const SplitRule& rule, std::string_view text) {
  return pieces_of(PreTokenizer({rule}), text);
}

TEST(PreTokenizer, DoesWithMatchesAsTold) {
  using enum SplitBehavior;
  using Pieces = std::vector<std::string>;
  const std::string text = "the-final--countdown";
  EXPECT_EQ(cut({"-", isolated}, text), (Pieces{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(cut({"-", removed}, text), (Pieces{"the", "final", "countdown"}));
  EXPECT_EQ(cut({"-", merged_with_previous}, text), (Pieces{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(cut({"-", merged_with_next}, text), (Pieces{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(cut({"-", contiguous}, text), (Pieces{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(cut({.pattern = "-", .behavior = removed, .invert = true}, text), (Pieces{"-", "-", "-"}));
  EXPECT_EQ(cut({.pattern = R"(\w+)", .invert = true}, text), cut({.pattern = R"(\w+)"}, text));
}

TEST(PreTokenizer, PutsASpaceAheadOfEachPieceThatLacksOne) {
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(cut({.prefix_space = true}, "a b"), (Pieces{" a b"}));
  EXPECT_EQ(cut({.prefix_space = true}, " a b"), (Pieces{" a b"}));
  const PreTokenizer two({{.pattern = "-"}, {.pattern = std::string(kGpt2Pattern), .prefix_space = true}});
  EXPECT_EQ(pieces_of(two, "a b-c"), (Pieces{" a", " b", " -", " c"}));
  EXPECT_EQ(pieces_of(two, ""), (Pieces{}));
}

TEST(PreTokenizer, KnowsItsRulesByName) {
  for (const char* name :
       {"deepseek-v3", "qwen2", "llama-bpe", "gpt-2", "smollm", "llama4", "deepseek-llm"}) {
    EXPECT_EQ(pre_name_of(*known_split_rules(name)), name);
    EXPECT_EQ(canonical_pre_name(name), name);
    EXPECT_NE(known_pre_names().find(name), std::string::npos);
  }
  for (const char* alias : {"llama3", "llama-v3", "gpt2", "gpt-4o", "deepseek-r1-qwen"})
    EXPECT_TRUE(known_split_rules(alias)) << alias;
  EXPECT_EQ(canonical_pre_name("llama3"), "llama-bpe");
  EXPECT_FALSE(known_split_rules("default"));
  EXPECT_EQ(pre_name_of({{.pattern = "x"}}), "custom");
}

}  // namespace
}  // namespace minke
