#include "text/tokenizer.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "formats/test_files.h"
#include "text/small_tokenizer.h"

namespace minke {
namespace {

const Tokenizer& small() {
  static const Tokenizer tokenizer = Tokenizer::from_json(to_string(small_tokenizer()), "small");
  return tokenizer;
}

std::string shown(const Tokenizer& tokenizer, const std::vector<Token>& tokens) {
  std::string result;
  for (const Token token : tokens) result.append(result.empty() ? "" : "|").append(tokenizer.bytes(token));
  return result;
}

rc::Gen<std::string> some_text() {
  return rc::gen::map(rc::gen::container<std::vector<const char*>>(rc::gen::elementOf(
                          std::vector<const char*>{"a", " the", "hello", "12", "é", "e\u0301", "中", "😀",
                                                   "\n", "  ", "<x>", "<think>", "<bos>", "<", "\xC2\x85"})),
                      [](const std::vector<const char*>& parts) {
                        std::string text;
                        for (const char* part : parts) text += part;
                        return text;
                      });
}

TEST(Tokenizer, EncodesByItsRules) {
  EXPECT_EQ(shown(small(), small().encode("hello the 12")), "hello| the| |1|2");
  EXPECT_EQ(shown(small(), small().encode("e\u0301<bos>in<think>")), "é|<bos>|in|<think>");
  EXPECT_EQ(shown(small(), small().encode("<bos><think>", Added::special_as_text)), "<|b|o|s|>|<think>");
  EXPECT_EQ(shown(small(), small().encode("<bos><think>", Added::none)), "<|b|o|s|>|<|t|h|in|k|>");
  EXPECT_TRUE(small().encode("").empty());
}

TEST(Tokenizer, RefusesWhatIsNotText) {
  expect_says(error_of([] { small().encode("abc\xFF"); }), "not UTF-8 at byte 3");
  expect_says(error_of([] { small().encode(Pieces{{false, "ab"}, {true, "\xE4\xB8"}}); }),
              "not UTF-8 at byte 2");
  for (const Token token : {-1, small().size()}) {
    EXPECT_THROW(small().bytes(token), Error);
    EXPECT_THROW(small().decode({&token, 1}), Error);
    EXPECT_THROW(small().is_special(token), Error);
  }
}

TEST(Tokenizer, MatchesAddedTokensInTemplatePiecesOnly) {
  const auto ids = [](const Pieces& pieces) { return shown(small(), small().encode(pieces)); };
  EXPECT_EQ(ids({{false, "<bos>"}, {true, "<bos>"}, {false, "<eos>"}}), "<bos>|<|b|o|s|>|<eos>");
  EXPECT_EQ(ids({{false, "<bo"}, {false, "s>"}}), "<bos>");
  EXPECT_EQ(ids({{false, "<bo"}, {true, ""}, {false, "s>"}}), "<bos>");
  EXPECT_EQ(ids({{false, "<bo"}, {true, "s>"}}), "<|b|o|s|>");
  // One text, whatever its sources.
  EXPECT_EQ(ids({{false, "<bos> t"}, {true, "he"}, {false, "llo"}}), "<bos>| the|ll|o");
  // Looked for after normalisation, which moves what lies behind it.
  EXPECT_EQ(ids({{true, "e\u0301<x>"}, {false, "e\u0301<x>"}}), "é|<|x|>|é|<x>");
}

TEST(Tokenizer, GivenTextSpeaksInNoAddedToken) {
  rc::check([] {
    Pieces pieces;
    for (const auto& [given, text] : *rc::gen::container<std::vector<std::pair<bool, std::string>>>(
             rc::gen::pair(rc::gen::arbitrary<bool>(), some_text())))
      pieces.push_back({given, text});
    const auto tokens = small().encode(pieces);
    // As the plain text's, where all is template; none added, where all is given.
    Pieces all_template = pieces, all_given = pieces;
    for (Piece& piece : all_template) piece.given = false;
    for (Piece& piece : all_given) piece.given = true;
    RC_ASSERT(small().encode(all_template) == small().encode(plain(pieces)));
    RC_ASSERT(small().encode(all_given) == small().encode(plain(pieces), Added::none));
    const auto added = [](const std::vector<Token>& list) {
      return std::count_if(list.begin(), list.end(), [](Token token) { return small().is_added(token); });
    };
    RC_ASSERT(added(small().encode(all_given)) == 0);
    std::ptrdiff_t from_template = 0;
    for (const Piece& piece : pieces) from_template += piece.given ? 0 : added(small().encode(piece.text));
    // Neighbouring template pieces may complete a token together, never lose one.
    const bool neighbours =
        std::adjacent_find(pieces.begin(), pieces.end(),
                           [](const Piece& a, const Piece& b) { return a.given == b.given; }) != pieces.end();
    if (!neighbours) RC_ASSERT(added(tokens) == from_template);
  });
}

TEST(Tokenizer, DecodesWhatItEncoded) {
  Json json = small_tokenizer();
  json.set("normalizer", nullptr);
  const Tokenizer tokenizer = Tokenizer::from_json(to_string(json), "small");
  rc::check([&] {
    const std::string text = *some_text();
    for (const Added added : {Added::all, Added::special_as_text, Added::none})
      RC_ASSERT(tokenizer.decode(tokenizer.encode(text, added)) == text);
  });
}

TEST(Detokenizer, SaysWhatDecodeSaysAndNeverHalfACharacter) {
  rc::check([](bool skip_special) {
    const auto tokens = *rc::gen::container<std::vector<Token>>(rc::gen::inRange(0, small().size()));
    Detokenizer detokenizer(small(), skip_special);
    std::string text;
    for (const Token token : tokens) {
      const std::string more = detokenizer.push(token);
      RC_ASSERT(find_invalid_utf8(more) == std::string::npos);
      text += more;
    }
    RC_ASSERT(text + detokenizer.finish() == small().decode(tokens, skip_special));
  });
}

TEST(Detokenizer, WaitsForTheRestOfACharacterOnly) {
  const auto byte = [](char c) { return *small().find(std::string_view(&c, 1)); };
  Detokenizer detokenizer(small());
  EXPECT_EQ(detokenizer.push(byte('\xF0')), "");
  EXPECT_EQ(detokenizer.push(byte('\x9F')), "");
  EXPECT_EQ(detokenizer.push(byte('\x98')), "");
  EXPECT_EQ(detokenizer.push(byte('\x80')), "😀");
  EXPECT_EQ(detokenizer.push(byte('\xE4')), "");
  EXPECT_EQ(detokenizer.push(byte('a')), "\uFFFDa");
  EXPECT_EQ(detokenizer.push(byte('\xE4')), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Tokenizer, TellsItsTokensApart) {
  const Token bos = *small().find("<bos>"), think = *small().find("<think>"), the = *small().find(" the");
  EXPECT_TRUE(small().is_special(bos) && small().is_added(bos));
  EXPECT_TRUE(!small().is_special(think) && small().is_added(think));
  EXPECT_TRUE(!small().is_special(the) && !small().is_added(the) && !small().is_unused(the));
  EXPECT_EQ(small().find("Ġthe"), std::nullopt);
  EXPECT_EQ(small().size(), 269);
  const std::vector<Token> tokens{bos, the, think};
  EXPECT_EQ(small().decode(tokens), "<bos> the<think>");
  EXPECT_EQ(small().decode(tokens, true), " the<think>");
}

}  // namespace
}  // namespace minke
