#include "train/ngram.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace minke {
namespace {

NgramText text_of(std::initializer_list<std::vector<Token>> documents) {
  NgramText text;
  for (const auto& document : documents)
    for (size_t i = 0; i < document.size(); ++i) {
      text.tokens.push_back(document[i]);
      text.starts.push_back(i == 0);
      text.learned.push_back(i > 0);
    }
  return text;
}

// By hand, order 2 over {0 (begins documents), 1, 2, 3}: 0 1 2, 0 1 2, 0 1 3, 0 2.
// Bigrams: 01 three times, 12 twice, 13 once, 02 once. n1 = 2, n2 = 1, n3 = 1, n4 = 0: Y = 1/2;
//   D1 = 1 - 2 Y n2 / n1 = 1/2, D2 = 2 - 3 Y n3 / n2 = 1/2, D3 = 3 - 4 Y n4 / n3 = 3.
// Unigrams, by different tokens before: 1: {0}; 2: {1, 0}; 3: {1}: counts 1, 2, 1. n1 = 2, n2 = 1, n3 = 0:
// 0.5, 1, 1.5.
TEST(KneserNey, AHandComputedCase) {
  const KneserNey model(text_of({{0, 1, 2}, {0, 1, 2}, {0, 1, 3}, {0, 2}}), 4, 2);
  EXPECT_EQ(model.ngrams(1), 3);
  EXPECT_EQ(model.ngrams(2), 4);
  EXPECT_EQ(model.discounts(1), (std::array<double, 3>{0.5, 1, 1.5}));
  EXPECT_EQ(model.discounts(2), (std::array<double, 3>{0.5, 0.5, 3}));
  // What single tokens leave: 2 x 0.5 + 1 x 1 of 4.
  const double left = 2.0 / 4, u0 = left / 4, u1 = 0.5 / 4 + left / 4, u2 = 1.0 / 4 + left / 4;
  const auto p = [&](std::vector<Token> context, Token token) {
    return std::exp(model.log_probability(context, token));
  };
  EXPECT_NEAR(p({}, 0), u0, 1e-12);
  EXPECT_NEAR(p({}, 1), u1, 1e-12);
  EXPECT_NEAR(p({}, 2), u2, 1e-12);
  EXPECT_NEAR(p({3}, 2), u2, 1e-12);  // nothing follows 3
  // After 1: 2 twice, 3 once, of 3; left is D2 + D1.
  EXPECT_NEAR(p({1}, 2), (1.5 + 1.0 * u2) / 3, 1e-12);
  EXPECT_NEAR(p({1}, 3), (0.5 + 1.0 * u1) / 3, 1e-12);
  EXPECT_NEAR(p({1}, 0), (0.0 + 1.0 * u0) / 3, 1e-12);
  // After 0: 1 three times, 2 once, of 4; left is D3 + D1.
  EXPECT_NEAR(p({7, 0}, 1), (0.0 + 3.5 * u1) / 4, 1e-12);
  EXPECT_NEAR(p({0}, 2), (0.5 + 3.5 * u2) / 4, 1e-12);
  const auto score = model.score(text_of({{0, 1, 3}, {1, 2}}));
  EXPECT_EQ(score.tokens, 3);
  EXPECT_NEAR(score.nll, -(std::log(p({0}, 1)) + std::log(p({1}, 3)) + std::log(p({1}, 2))) / 3, 1e-12);
}

TEST(KneserNey, ProbabilitiesSumToOne) {
  Random random(1);
  NgramText text;
  for (int i = 0; i < 5000; ++i) {
    text.tokens.push_back(static_cast<Token>(random.below(random.below(20) + 1)));
    text.starts.push_back(i == 0 || random.below(30) == 0);
    text.learned.push_back(!text.starts.back() && random.below(10) > 0);
  }
  for (int order = 1; order <= 5; ++order) {
    const KneserNey model(text, 25, order);
    for (int i = 0; i < 200; ++i) {
      std::vector<Token> context;
      for (uint64_t n = random.below(6); n > 0; --n) context.push_back(static_cast<Token>(random.below(22)));
      double sum = 0;
      for (Token t = 0; t < 25; ++t) sum += std::exp(model.log_probability(context, t));
      EXPECT_NEAR(sum, 1, 1e-9);
    }
  }
}

class SeenTokens : public testing::Test {
 protected:
  void TearDown() override { fs::remove(path_); }
  fs::path path_ = fs::path(testing::TempDir()) / "ngram_test.tokens";
};

TEST_F(SeenTokens, AreThoseOfTheFirstRows) {
  ShardContent content;
  std::vector<Token> tokens;
  for (Token t = 0; t < 100; ++t) tokens.push_back(t);
  content.add(tokens);
  content.add(tokens);
  write_shard(path_, {.vocab = 100}, 0, content);
  const TokenShards shards = TokenShards::open(path_, "train", {});
  EXPECT_EQ(all_tokens(shards).tokens.size(), 200u);
  constexpr int kLength = 8;
  for (const int64_t seen : {1, 3, 12, 24, 25, 70}) {
    const NgramText text = seen_tokens(shards, kLength, 3, seen);
    int64_t learned = 0, expected = 0;
    for (size_t i = 0; i < text.tokens.size(); ++i) {
      if (!text.learned[i]) continue;
      ++learned;
      ASSERT_GT(i, 0u);
      EXPECT_EQ(text.tokens[i], text.tokens[i - 1] + 1);
      EXPECT_FALSE(text.starts[i]);
    }
    const RowOrder order(shards.rows(kLength), 3);
    TokenRow row;
    for (int64_t i = 0; i < std::min(seen, shards.rows(kLength)); ++i) {
      shards.read(order.row(i), kLength, 1, row);
      for (int t = 1; t <= kLength; ++t) expected += row.loss[static_cast<size_t>(t)];
    }
    EXPECT_EQ(learned, expected) << seen;
  }
}

}  // namespace
}  // namespace minke
