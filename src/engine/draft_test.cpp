#include "engine/draft.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "model/random_config.h"
#include "model/test_models.h"

namespace minke {
namespace {

using Tokens = std::vector<Token>;

TEST(LookUp, GivesWhatFollowedTheLongestEnding) {
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 1, 2, 3}, 2), (Tokens{4, 5}));
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 1, 2, 3}, 10), (Tokens{4, 5, 1, 2, 3}));
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 2, 3}, 4), Tokens{}) << "two tokens are too few";
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 7, 0, 1, 2, 3, 8, 1, 2, 3}, 1), Tokens{8}) << "the latest of equals";
  EXPECT_EQ(look_up(Tokens{9, 1, 2, 3, 7, 0, 1, 2, 3, 8, 9, 1, 2, 3}, 1), Tokens{7}) << "the longest first";
  EXPECT_EQ(look_up(Tokens{1, 1, 1, 1, 1}, 3), Tokens{1}) << "what is there of it";
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 1, 2, 3}, 0), Tokens{});
  EXPECT_EQ(look_up(Tokens{1, 2, 3}, 4), Tokens{});
  EXPECT_EQ(look_up(Tokens{}, 4), Tokens{});
}

TEST(LookUp, FollowsAnEndingThatIsThere) {
  EXPECT_TRUE(rc::check([] {
    const auto tokens = *rc::gen::container<Tokens>(rc::gen::inRange<Token>(0, 3));
    const Tokens draft = look_up(tokens, 5);
    if (draft.empty()) return;
    RC_ASSERT(draft.size() <= 5u);
    bool found = false;  // the last three tokens and the draft are somewhere one after the other
    Tokens wanted(tokens.end() - kLeastMatch, tokens.end());
    wanted.insert(wanted.end(), draft.begin(), draft.end());
    for (size_t i = 0; i + wanted.size() <= tokens.size(); ++i)
      found |= std::equal(wanted.begin(), wanted.end(), tokens.begin() + static_cast<int64_t>(i));
    RC_ASSERT(found);
  }));
}

TEST(LookupLength, GrowsWithSuccessAndPausesLongerAfterEachFailure) {
  LookupLength d;
  const int first = d.next(100);
  d.learn(first, first);
  EXPECT_GT(d.next(100), first);
  EXPECT_EQ(d.next(1), 1);
  int steps = 0, drafts = 0;
  for (; steps < 1000; ++steps) {
    const int n = d.next(100);
    drafts += n > 0;
    d.learn(n, 0);
  }
  EXPECT_GE(drafts, 2);
  EXPECT_LE(drafts, 30) << "text that never repeats pays for few drafts";
  while (d.next(100) == 0) continue;
  d.learn(2, 2);
  EXPECT_GT(d.next(100), 0);
}

// Drafts for `steps` steps, of which each token is right with the chance of its depth; how many were drafted.
int drafted(MtpLength& d, const DraftCost& cost, int sequences, const std::vector<double>& chance,
            int steps) {
  Random random(1);
  int total = 0;
  for (int i = 0; i < steps; ++i) {
    const int n = d.next(static_cast<int>(chance.size()), cost, sequences);
    int right = 0;
    while (right < n && random.uniform() < chance[static_cast<size_t>(right)]) ++right;
    d.learn(n, right);
    total += n;
  }
  return total;
}

TEST(MtpLength, DraftsAsMuchAsPays) {
  const DraftCost dense{0, 1, 0.05}, sparse{0.6, 1.0 / 32, 0.05};
  MtpLength always, first, none, seldom, shared;
  EXPECT_GE(drafted(always, dense, 1, {1, 1, 1, 1}, 100), 390);
  EXPECT_NEAR(drafted(first, dense, 1, {0.95, 0, 0, 0}, 400), 400, 40) << "the second is never right";
  EXPECT_LT(drafted(none, sparse, 1, {0.6, 0.6}, 1000), 300) << "what is right saves less than the rows cost";
  EXPECT_FALSE(none.hopeless());
  EXPECT_GT(drafted(seldom, dense, 1, {0.7, 0.7}, 1000), 900) << "but it pays where rows are cheap";
  EXPECT_LT(drafted(shared, dense, 64, {0.7, 0.7}, 1000), 300)
      << "nor does it pay where steps are full anyway";
  EXPECT_EQ(always.next(0, dense, 1), 0);
  EXPECT_LE(always.next(1, dense, 1), 1);
}

TEST(MtpLength, GivesUpWhatIsNeverRight) {
  MtpLength d;
  int steps = 0, total = 0;
  while (!d.hopeless()) {
    const int n = d.next(7, {0, 1, 0.05}, 1);
    total += n;
    d.learn(n, 0);
    ASSERT_LT(++steps, 400);
  }
  EXPECT_LE(total, 40);
  d.learn(1, 1);
  EXPECT_FALSE(d.hopeless());
}

TEST(DraftCost, IsWhatRowsReadMore) {
  Random random(3);
  Config config = random_config(random, "llama");
  const RandomModel dense(config, 1, Format::f32);
  const DraftCost shared = draft_cost(dense.model());
  EXPECT_EQ(shared.step(1), 1);
  EXPECT_LT(shared.step(2), 2);
  EXPECT_LT(shared.step(8), 8 * shared.step(1) / 2) << "all rows share all weights";
  config = random_config(random, "deepseek_v3");
  config.mtp_layers = 1;
  config.layers = 3;
  config.moe->router.active = 2;
  const RandomModel sparse(config, 1, Format::f32);
  const DraftCost cost = draft_cost(sparse.model());
  EXPECT_EQ(cost.step(1), 1);
  for (int rows = 2; rows < 9; ++rows) EXPECT_GT(cost.step(rows), cost.step(rows - 1));
  const double work = shared.step(3) - shared.step(2);  // a row's arithmetic
  const double all = config.moe->router.experts / 2.0;  // experts, to those of one row
  EXPECT_NEAR(cost.step(1000) - shared.step(1000), cost.experts * (all - (shared.step(2) - work)), 1e-6);
  EXPECT_GT(cost.pass, 0.1);
  EXPECT_LT(cost.pass, 1) << "one layer of three, and the head";
}

}  // namespace
}  // namespace minke
