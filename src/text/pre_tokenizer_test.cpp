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

}  // namespace
}  // namespace minke
