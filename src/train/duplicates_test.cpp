#include "train/duplicates.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace minke {
namespace {

std::vector<std::string> random_words(Random& random, int n) {
  std::vector<std::string> words;
  for (int i = 0; i < n; ++i) words.push_back("w" + std::to_string(random.below(5000)));
  return words;
}

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const std::string& word : words) text += word + between;
  return text;
}

double jaccard(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto shingles = [](const std::vector<std::string>& words) {
    std::set<std::string> all;
    for (size_t i = 0; i + 5 <= words.size(); ++i)
      all.insert(joined({words.begin() + static_cast<std::ptrdiff_t>(i),
                         words.begin() + static_cast<std::ptrdiff_t>(i) + 5}));
    return all;
  };
  const auto x = shingles(a), y = shingles(b);
  size_t both = 0;
  for (const auto& s : x) both += y.count(s);
  return static_cast<double>(both) / static_cast<double>(x.size() + y.size() - both);
}

TEST(Duplicates, WhiteSpaceDoesNotCount) {
  EXPECT_EQ(text_hash("a  b\n\tc\n"), text_hash(" a b c"));
  EXPECT_NE(text_hash("a b c"), text_hash("a bc"));
  EXPECT_NE(text_hash("a b c"), text_hash("A b c"));
}

TEST(Duplicates, TheSimilarityIsEstimated) {
  Random random(7);
  double bias = 0;
  for (int round = 0; round < 60; ++round) {
    const auto words = random_words(random, 400);
    auto changed = words;
    const auto changes = random.below(60);
    for (uint64_t i = 0; i < changes; ++i)
      changed[random.below(changed.size())] = "other" + std::to_string(i);
    const double estimate = similarity(sketch(joined(words)), sketch(joined(changed)));
    const double actual = jaccard(words, changed);
    EXPECT_NEAR(estimate, actual, 0.16) << changes;  // 3.6 standard deviations at the worst place
    bias += (estimate - actual) / 60;
  }
  EXPECT_NEAR(bias, 0, 0.02);
  EXPECT_LT(similarity(sketch(joined(random_words(random, 400))), sketch(joined(random_words(random, 400)))),
            0.05);
}

TEST(Duplicates, CaseAndPunctuationDoNotCount) {
  const TextSketch a = sketch("The quick brown fox, jumps over the lazy dog.");
  EXPECT_EQ(similarity(a, sketch("the quick BROWN fox jumps\nover the lazy dog")), 1);
  EXPECT_EQ(similarity(sketch("one two"), sketch("one  two!")), 1);
  EXPECT_LT(similarity(sketch("one two"), sketch("one three")), 0.1);
  EXPECT_GT(similarity(sketch("今天天气很好我们去公园"), sketch("今天天气很好我们去公园吧")), 0.6);
  EXPECT_EQ(similarity(sketch(""), sketch("...")), 1);
}

TEST(Duplicates, NearOnesAreFoundAndOthersAreNot) {
  Random random(3);
  NearDuplicates seen(0.7);
  int lost = 0, missed = 0;
  for (int i = 0; i < 300; ++i) {
    auto words = random_words(random, 300);
    lost += !seen.add(sketch(joined(words)));
    words[random.below(words.size())] = "changed";  // five of some 300 shingles
    words[random.below(words.size())] = "again";
    missed += seen.add(sketch(joined(words, "\n")));
  }
  EXPECT_EQ(lost, 0);
  EXPECT_LE(missed, 1);
}

}  // namespace
}  // namespace minke
