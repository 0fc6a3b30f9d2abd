#include "text/bpe.h"

#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "formats/test_files.h"

namespace minke {
namespace {

// A vocabulary of letters and of what merges make of them, in the order of the merges.
struct Rules {
  std::vector<std::string> texts;
  std::vector<std::pair<std::string, std::string>> merges;

  explicit Rules(std::string_view letters) {
    for (const char c : letters) texts.emplace_back(1, c);
  }
  void merge(const std::string& left, const std::string& right) {
    merges.emplace_back(left, right);
    if (std::find(texts.begin(), texts.end(), left + right) == texts.end()) texts.push_back(left + right);
  }
  Bpe bpe(const BpeOptions& options = {}) const {
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const std::vector<TokenKind> kinds(texts.size(), TokenKind::ordinary);
    return Bpe(Vocabulary(views, kinds), {merges.begin(), merges.end()}, options);
  }
};

std::string encoded(const Bpe& bpe, std::string_view piece, size_t memory_bytes = 0) {
  Bpe::Memory memory(memory_bytes);
  std::string result;
  for (int round = 0; round < 2; ++round) {  // the second finds what the first left in memory
    std::vector<Token> tokens;
    bpe.encode(piece, tokens, memory);
    std::string joined;
    for (const Token token : tokens)
      joined.append(joined.empty() ? "" : " ").append(bpe.vocabulary().bytes(token));
    if (round == 1) {
      EXPECT_EQ(joined, result);
    }
    result = joined;
  }
  return result;
}

TEST(Bpe, MergesTheLowestRankFirstFromTheLeft) {
  Rules rules("abc");
  rules.merge("b", "c");
  rules.merge("a", "a");
  rules.merge("a", "b");
  rules.merge("aa", "a");
  const Bpe bpe = rules.bpe();
  EXPECT_EQ(encoded(bpe, "abc"), "a bc");
  EXPECT_EQ(encoded(bpe, "aaa"), "aaa");
  EXPECT_EQ(encoded(bpe, "aaaaa"), "aa aaa");
  EXPECT_EQ(encoded(bpe, "ab"), "ab");
  EXPECT_EQ(encoded(bpe, "c"), "c");
}

TEST(Bpe, TakesAWholePieceWhereMergesAreIgnored) {
  Rules rules("abc");
  rules.merge("b", "c");
  rules.texts.push_back("abc");
  EXPECT_EQ(encoded(rules.bpe(), "abc"), "a bc");
  EXPECT_EQ(encoded(rules.bpe({.ignore_merges = true}), "abc"), "abc");
  EXPECT_EQ(encoded(rules.bpe({.ignore_merges = true}), "abcb"), "a bc b");
}

TEST(Bpe, LeavesOutOrNamesWhatItHasNoLetterFor) {
  Rules rules("abu");
  EXPECT_EQ(encoded(rules.bpe(), "axyb"), "a b");
  EXPECT_EQ(encoded(rules.bpe(), "x"), "");
  EXPECT_EQ(encoded(rules.bpe({.unk = 2}), "axyb"), "a u u b");
  EXPECT_EQ(encoded(rules.bpe({.unk = 2, .fuse_unk = true}), "axybz"), "a u b u");
}

TEST(Bpe, OfEqualMergesTheLastCounts) {
  Rules rules("abc");
  rules.merge("a", "b");
  rules.merge("b", "c");
  EXPECT_EQ(encoded(rules.bpe(), "abc"), "ab c");
  rules.merge("a", "b");
  EXPECT_EQ(encoded(rules.bpe(), "abc"), "a bc");
}

TEST(Bpe, NamesAMergeOfUnknownPieces) {
  Rules rules("ab");
  rules.merge("a", "b");
  rules.merges.emplace_back("a", "zz");
  expect_says(error_of([&] { rules.bpe(); }), "merge 1 ('a' and 'zz') needs the piece 'zz'");
  rules.merges.back() = {"b", "a"};
  expect_says(error_of([&] { rules.bpe(); }), "needs the piece 'ba'");
}

TEST(Bpe, NeverMergesIntoAnAddedToken) {
  const std::vector<std::string_view> texts{"a", "b", "ab", "abb"};
  const std::vector<TokenKind> kinds{TokenKind::ordinary, TokenKind::ordinary, TokenKind::special,
                                     TokenKind::ordinary};
  const Bpe bpe(Vocabulary(texts, kinds), {{"a", "b"}, {"ab", "b"}}, {.ignore_merges = true});
  EXPECT_EQ(encoded(bpe, "ab"), "a b");
  EXPECT_EQ(encoded(bpe, "abab"), "a b a b");
  const Bpe with_unk(Vocabulary(texts, kinds), {}, {.unk = 2});
  EXPECT_EQ(encoded(with_unk, "axb"), "a b");
}

// The definition: merge the lowest rank, the leftmost of it, until nothing merges.
std::string by_definition(const Rules& rules, std::string_view piece) {
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t i = 0; i < rules.merges.size(); ++i) ranks[rules.merges[i]] = i;
  std::vector<std::string> symbols;
  for (const char c : piece) symbols.emplace_back(1, c);
  while (true) {
    size_t best = symbols.size(), best_rank = rules.merges.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end() && found->second < best_rank) best = i, best_rank = found->second;
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::string joined;
  for (const std::string& symbol : symbols) joined.append(joined.empty() ? "" : " ").append(symbol);
  return joined;
}

TEST(Bpe, IsItsDefinitionForShortAndLongPieces) {
  rc::check([] {
    Rules rules("abc");
    const int merges = *rc::gen::inRange(0, 40);
    for (int i = 0; i < merges; ++i) {
      const auto any = rc::gen::elementOf(rules.texts);
      rules.merge(*any, *any);
    }
    const Bpe bpe = rules.bpe();
    for (const size_t most : {8, 16, 300}) {
      const size_t length = *rc::gen::inRange<size_t>(1, most);
      const auto piece = *rc::gen::container<std::string>(length, rc::gen::elementOf(std::string("abc")));
      const std::string expected = by_definition(rules, piece);
      RC_ASSERT(encoded(bpe, piece) == expected);
      RC_ASSERT(encoded(bpe, piece, 1 << 16) == expected);
    }
  });
}

TEST(Bpe, TakesALongPieceWithoutPain) {
  Rules rules("ab");
  std::string power = "a";
  for (int i = 0; i < 10; ++i, power += power) rules.merge(power, power);
  const Bpe bpe = rules.bpe();
  Bpe::Memory memory(0);
  std::vector<Token> tokens;
  bpe.encode(std::string(1 << 20, 'a'), tokens, memory);
  EXPECT_EQ(tokens.size(), size_t{1} << 10);
}

TEST(Vocabulary, ReadsByteLevelCharacters) {
  std::string bytes;
  EXPECT_TRUE(append_byte_level(bytes, "ĠhÃ©ĊĀŃ"));
  EXPECT_EQ(bytes, std::string(" h\xC3\xA9\n\0\xAD", 7));
  for (const char* text : {"a b", "\x7F", "中", "ń", "\xA0", "a\xC4"}) {
    EXPECT_FALSE(append_byte_level(bytes, text)) << text;
    EXPECT_EQ(bytes.size(), 7u);
  }
}

TEST(Vocabulary, KeepsWrittenAndMeantApart) {
  // "Ġ" is written for a space; an added token is what it is.
  const std::vector<std::string_view> texts{"Ġ", " ", "中", "x"};
  const std::vector<TokenKind> kinds{TokenKind::ordinary, TokenKind::added, TokenKind::ordinary,
                                     TokenKind::unused};
  const Vocabulary vocabulary(texts, kinds);
  EXPECT_EQ(vocabulary.find_ordinary(" "), 0);
  EXPECT_EQ(vocabulary.find_other(" "), 1);
  EXPECT_EQ(vocabulary.kind(2), TokenKind::literal);
  EXPECT_EQ(vocabulary.find_other("中"), 2);
  EXPECT_EQ(vocabulary.find_ordinary("中"), std::nullopt);
  EXPECT_EQ(vocabulary.find_ordinary("x"), std::nullopt);
  EXPECT_EQ(vocabulary.bytes(0), " ");
  const std::vector<std::string_view> twice{"a", "b", "a"};
  expect_says(error_of([&] { Vocabulary(twice, std::vector(3, TokenKind::ordinary)); }),
              "token 2 is 'a', and so is token 0");
}

}  // namespace
}  // namespace minke
