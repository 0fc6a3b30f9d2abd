#include "text/bpe_train.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "text/vocabulary.h"

namespace minke {
namespace {

using Words = std::vector<std::pair<std::string, uint64_t>>;

WordCounts counted(const Words& words) {
  WordCounts counts;
  for (const auto& [word, times] : words) counts.add(word, times);
  return counts;
}

// The definition, word for word: everything is counted anew for each merge.
LearnedBpe learn_slowly(const WordCounts& counts, const BpeTraining& training) {
  LearnedBpe learned;
  std::vector<int> bytes(256);
  for (int i = 0; i < 256; ++i) bytes[static_cast<size_t>(i)] = i;
  const auto character = [](int byte) { return byte_level_text(std::string(1, static_cast<char>(byte))); };
  std::sort(bytes.begin(), bytes.end(), [&](int a, int b) { return character(a) < character(b); });
  for (const int byte : bytes) learned.tokens.push_back(std::string(1, static_cast<char>(byte)));
  const auto id_of = [&](const std::string& text) {
    return static_cast<Token>(std::find(learned.tokens.begin(), learned.tokens.end(), text) -
                              learned.tokens.begin());
  };
  std::vector<std::vector<Token>> words;
  for (size_t i = 0; i < counts.size(); ++i)
    for (words.emplace_back(); const char c : counts.word(i))
      words.back().push_back(id_of(std::string(1, c)));
  while (static_cast<int>(learned.tokens.size()) < training.vocab) {
    std::map<std::pair<Token, Token>, uint64_t> pairs;
    for (size_t w = 0; w < words.size(); ++w)
      for (size_t i = 0; i + 1 < words[w].size(); ++i)
        pairs[{words[w][i], words[w][i + 1]}] += counts.count(w);
    const auto text = [&](auto pair) {
      return learned.tokens[static_cast<size_t>(pair.first)] +
             learned.tokens[static_cast<size_t>(pair.second)];
    };
    std::erase_if(pairs,
                  [&](const auto& p) { return std::ranges::count(training.reserved, text(p.first)) > 0; });
    const auto best = std::max_element(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second < b.second : a.first > b.first;
    });
    if (best == pairs.end() || best->second < training.least) break;
    const auto [left, right] = best->first;
    const Token result = id_of(text(best->first));
    if (result == static_cast<Token>(learned.tokens.size())) learned.tokens.push_back(text(best->first));
    learned.merges.push_back(best->first);
    for (auto& word : words)
      for (size_t i = 0; i + 1 < word.size(); ++i)
        if (word[i] == left && word[i + 1] == right) {
          word[i] = result;
          word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
  }
  return learned;
}

TEST(BpeTraining, TheTextbookExample) {
  // Sennrich et al. 2016, algorithm 1, without their end of word: es, est, lo, low, ...
  const LearnedBpe learned =
      learn_bpe(counted({{"low", 5}, {"lower", 2}, {"newest", 6}, {"widest", 3}}), {.vocab = 261});
  ASSERT_EQ(learned.tokens.size(), 261u);
  // es 9 before st 9: e has the smaller id.
  EXPECT_EQ((std::vector<std::string>(learned.tokens.begin() + 256, learned.tokens.end())),
            (std::vector<std::string>{"es", "est", "lo", "low", "ew"}));
}

TEST(BpeTraining, IsWhatTheDefinitionGives) {
  rc::check([] {
    const auto words = *rc::gen::container<std::vector<std::pair<std::string, uint64_t>>>(
        rc::gen::pair(rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c', '\xff')),
                      rc::gen::inRange<uint64_t>(1, 5)));
    BpeTraining training{.vocab = *rc::gen::inRange(256, 300), .least = *rc::gen::inRange<uint64_t>(1, 4)};
    if (*rc::gen::arbitrary<bool>()) training.reserved = {"ab", "aab"};
    const WordCounts counts = counted(words);
    const LearnedBpe fast = learn_bpe(counts, training), slow = learn_slowly(counts, training);
    RC_ASSERT(fast.tokens == slow.tokens);
    RC_ASSERT(fast.merges == slow.merges);
  });
}

TEST(BpeTraining, DoesNotDependOnTheOrderOfWords) {
  Words words;
  for (int i = 0; i < 500; ++i)
    words.push_back({std::to_string(i * i * 7919), static_cast<uint64_t>(1 + i % 3)});
  const LearnedBpe forwards = learn_bpe(counted(words), {.vocab = 600});
  std::reverse(words.begin(), words.end());
  const LearnedBpe backwards = learn_bpe(counted(words), {.vocab = 600});
  EXPECT_EQ(forwards.tokens, backwards.tokens);
  EXPECT_EQ(forwards.merges, backwards.merges);
}

TEST(WordCounts, AddUp) {
  WordCounts a, b;
  for (int i = 0; i < 5000; ++i) (i % 2 == 0 ? a : b).add(std::to_string(i % 1500));
  a.add(b);
  EXPECT_EQ(a.size(), 1500u);
  EXPECT_EQ(a.total(), 5000u);
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(a.count(i), std::stoi(std::string(a.word(i))) < 500 ? 4u : 3u) << a.word(i);
}

TEST(ByteLevel, IsWhatTheVocabularyReads) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  std::string back;
  EXPECT_TRUE(append_byte_level(back, byte_level_text(all)));
  EXPECT_EQ(back, all);
}

}  // namespace
}  // namespace minke
