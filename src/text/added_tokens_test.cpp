#include "text/added_tokens.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace minke {
namespace {

AddedToken token(Token id, std::string text) {
  AddedToken added;
  added.id = id;
  added.text = std::move(text);
  return added;
}

// "begin-end:id ..."
std::string found(const AddedTokenFinder& finder, std::string_view text, std::vector<TextRun> runs,
                  bool skip_special = false) {
  std::string result;
  for (const auto& match : finder.find(text, runs, skip_special))
    result +=
        std::to_string(match.begin) + "-" + std::to_string(match.end) + ":" + std::to_string(match.id) + " ";
  return result;
}

std::string found(const AddedTokenFinder& finder, std::string_view text, bool skip_special = false) {
  return found(finder, text, {{0, text.size()}}, skip_special);
}

TEST(AddedTokens, AreFoundLeftmostAndLongest) {
  const AddedTokenFinder finder(
      {token(1, "<a>"), token(2, "<a>b"), token(3, "a>"), token(4, "b<"), token(5, "<a>")});
  EXPECT_EQ(found(finder, "<a>bb<a>"), "0-4:2 4-6:4 6-8:3 ");
  EXPECT_EQ(found(finder, "x<a>"), "1-4:1 ");
  EXPECT_EQ(found(finder, "<a"), "");
  EXPECT_EQ(found(AddedTokenFinder(), "<a>"), "");
}

TEST(AddedTokens, LieInOneRun) {
  const AddedTokenFinder finder({token(1, "<a>"), token(2, "<a>b")});
  EXPECT_EQ(found(finder, "<a>b<a>b", {{0, 3}, {5, 8}}), "0-3:1 ");
  EXPECT_EQ(found(finder, "<a>b<a>b", std::vector<TextRun>()), "");
}

TEST(AddedTokens, SpecialOnesArePassedOver) {
  AddedToken special = token(1, "<ab>");
  special.special = true;
  const AddedTokenFinder finder({special, token(2, "ab")});
  EXPECT_EQ(found(finder, "<ab>ab"), "0-4:1 4-6:2 ");
  EXPECT_EQ(found(finder, "<ab>ab", true), "4-6:2 ");
}

TEST(AddedTokens, TakeWhiteSpaceWithThem) {
  AddedToken left = token(1, "<l>"), right = token(2, "<r>");
  left.lstrip = right.rstrip = true;
  const AddedTokenFinder finder({left, right});
  EXPECT_EQ(found(finder, "a \u3000<l> <r>\n b"), "1-8:1 9-14:2 ");
  EXPECT_EQ(found(finder, "<r> <l>"), "0-4:2 4-7:1 ");
  EXPECT_EQ(found(finder, " <l> ", {{1, 4}}), "0-4:1 ");  // given white space too: it is not spoken
}

TEST(AddedTokens, MayBeWordsOfTheirOwn) {
  AddedToken word = token(1, "foo");
  word.single_word = true;
  const AddedTokenFinder finder({word});
  EXPECT_EQ(found(finder, "foo foot éfoo (foo)_foo"), "0-3:1 16-19:1 ");
  EXPECT_EQ(found(finder, "xfoo", {{1, 4}}), "");  // what is given counts as a neighbour
}

TEST(AddedTokens, AgreeWithLookingAtEveryPlace) {
  rc::check([] {
    const auto word = rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab<")));
    const auto words = *rc::gen::container<std::vector<std::string>>(word);
    const std::string text = *word;
    std::vector<AddedToken> tokens;
    for (size_t i = 0; i < words.size(); ++i)
      if (!words[i].empty()) tokens.push_back(token(static_cast<Token>(i), words[i]));
    std::string expected;
    for (size_t at = 0; at < text.size();) {
      const AddedToken* best = nullptr;
      for (const AddedToken& t : tokens)
        if (text.compare(at, t.text.size(), t.text) == 0 && (!best || t.text.size() > best->text.size()))
          best = &t;
      const size_t end = at + (best ? best->text.size() : 1);
      if (best)
        expected += std::to_string(at) + "-" + std::to_string(end) + ":" + std::to_string(best->id) + " ";
      at = end;
    }
    RC_ASSERT(found(AddedTokenFinder(tokens), text) == expected);
  });
}

}  // namespace
}  // namespace minke
