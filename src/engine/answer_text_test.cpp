#include "engine/answer_text.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/test_engine.h"

namespace minke {
namespace {

struct Shown {
  std::string text;
  std::vector<bool> added;  // [byte]
};

Shown show(const std::vector<Token>& tokens, const std::vector<std::string>& stops,
           const std::vector<Token>& written) {
  AnswerText answer(test_tokenizer(), stops, written);
  Shown all;
  const auto add = [&](const ShownText& part) {
    const size_t begin = all.text.size();
    all.text += part.text;
    all.added.resize(all.text.size());
    size_t last = 0;
    for (const TextRun& run : part.added) {
      EXPECT_TRUE(run.begin < run.end && run.end <= part.text.size() && (run.begin > last || last == 0));
      last = run.end;
      for (size_t i = run.begin; i < run.end; ++i) all.added[begin + i] = true;
    }
  };
  for (const Token token : tokens) add(answer.push(token));
  if (answer.stopped().empty()) add(answer.finish());
  return all;
}

TEST(AnswerText, KnowsWhatAddedTokensWrote) {
  const Tokenizer& tokenizer = test_tokenizer();
  const Token think = *tokenizer.find("<think>"), bos = *tokenizer.find("<bos>");
  std::vector<Token> tokens = tokenizer.encode("a <think>", Added::none);
  tokens.insert(tokens.end(), {think, think, bos});
  const std::string spelled = "a <think>", written = "<think><think>";
  Shown shown = show(tokens, {}, {});
  EXPECT_EQ(shown.text, spelled + written);
  for (size_t i = 0; i < shown.text.size(); ++i) EXPECT_EQ(shown.added[i], i >= spelled.size()) << i;
  shown = show(tokens, {}, {bos});
  EXPECT_EQ(shown.text, spelled + written + "<bos>");
  EXPECT_TRUE(shown.added.back());
}

TEST(AnswerText, StopStringsDoNotShiftTheMarks) {
  const Tokenizer& tokenizer = test_tokenizer();
  const Token think = *tokenizer.find("<think>");
  const std::vector<Token> bytes = tokenizer.encode("éx<k> ", Added::none);
  EXPECT_TRUE(rc::check([&] {
    std::vector<Token> tokens;
    for (int i = *rc::gen::inRange(0, 12); i > 0; --i)
      tokens.push_back(*rc::gen::arbitrary<bool>() ? think
                                                   : bytes[*rc::gen::inRange<size_t>(0, bytes.size())]);
    const auto stops =
        *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{"k>x", "<think>éé"},
                          std::vector<std::string>{"<<<<", "> <th", "xxxxx"});
    const Shown plain = show(tokens, {}, {}), shown = show(tokens, stops, {});
    RC_ASSERT(plain.text.starts_with(shown.text));
    for (size_t i = 0; i < shown.text.size(); ++i) RC_ASSERT(shown.added[i] == plain.added[i]);
  }));
}

}  // namespace
}  // namespace minke
