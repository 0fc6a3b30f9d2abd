#include "engine/budget.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

constexpr double kStep = 0.033;  // seconds a machine takes to read the weights

// Rows after the machine took `row` seconds for each prompt row for a while.
int settled(double row, int answers = 1, int prompts = 1) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(answers, 0, kStep);
  for (int i = 0; i < 50; ++i) {
    const int rows = budget.rows(answers, prompts, 512);
    budget.learn(answers, rows, kStep + row * rows);
  }
  return budget.rows(answers, prompts, 512);
}

TEST(PrefillBudget, AloneAPromptTakesAll) { EXPECT_EQ(PrefillBudget().rows(0, 1, 512), 512); }

TEST(PrefillBudget, BesideAnAnswerAStepIsNotMuchSlower) {
  for (const double row : {0.0005, 0.002, 0.004}) {
    const double step = kStep + row * settled(row);
    EXPECT_LE(step, kStep * 2.6) << row;
    EXPECT_GE(step, kStep * 1.9) << row;
  }
}

TEST(PrefillBudget, ManyPromptsBesideFewAnswersGetMore) {
  EXPECT_GT(settled(0.004, 1, 7), 5 * settled(0.004, 1, 1));
  EXPECT_EQ(settled(0.004, 7, 1), settled(0.004, 1, 1));
}

TEST(PrefillBudget, NeverStandsStillAndNeverPassesTheStep) {
  EXPECT_EQ(settled(1.0), 8);
  EXPECT_EQ(settled(1e-9), 512);
}

TEST(PrefillBudget, FollowsTheMachine) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(1, 0, kStep);
  for (int i = 0; i < 20; ++i) budget.learn(1, 16, kStep + 16 * 0.001);
  const int quick = budget.rows(1, 1, 512);
  for (int i = 0; i < 20; ++i) budget.learn(1, 16, kStep + 16 * 0.004);
  EXPECT_LT(budget.rows(1, 1, 512), quick / 3);
}

TEST(PrefillBudget, BeforeAnythingIsKnownItIsCareful) { EXPECT_EQ(PrefillBudget().rows(1, 1, 512), 16); }

}  // namespace
}  // namespace minke
