#include "engine/budget.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

constexpr double kStep = 0.033;  // seconds a machine takes to read the weights

// Rows after the machine took `row` seconds for each row behind the first for a while.
int settled(double row, int answers = 1, int prompts = 1) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(1, 0, 0, kStep);  // answers have joined since
  for (int i = 0; i < 50; ++i) {
    const int rows = budget.rows(answers, prompts, 512);
    budget.learn(answers, prompts, rows, kStep + row * (answers - 1 + rows));
  }
  return budget.rows(answers, prompts, 512);
}

TEST(PrefillBudget, AloneAPromptTakesAll) { EXPECT_EQ(PrefillBudget().rows(0, 1, 512), 512); }

TEST(PrefillBudget, BesideAnAnswerAStepIsNotMuchSlower) {
  for (const double row : {0.0005, 0.002, 0.004}) {
    const double step = kStep + row * settled(row);
    EXPECT_LE(step, kStep * 2.1) << row;
    EXPECT_GE(step, kStep * 1.8) << row;
  }
}

TEST(PrefillBudget, ManyPromptsGetMore) {
  EXPECT_GT(settled(0.003, 1, 7), 7 * settled(0.003, 1, 1));
  EXPECT_GT(settled(0.003, 7, 1), 1.3 * settled(0.003, 1, 1));  // their step is longer
}

TEST(PrefillBudget, TheLastOfACrowdIsNotLeftBehindAndALongPromptIsNoCrowd) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(1, 0, 0, kStep);
  const auto step = [&](int answers, int prompts) {
    const int rows = budget.rows(answers, prompts, 512);
    budget.learn(answers, prompts, rows, kStep + 0.003 * (answers - 1 + rows));
    return rows;
  };
  for (int i = 0; i < 20; ++i) step(1, 1);
  const int alone = step(1, 1);
  const int crowd = step(1, 7);
  EXPECT_GT(crowd, 7 * alone);
  EXPECT_GT(step(7, 1), crowd * 0.9);
  for (int i = 0; i < 60; ++i) step(7, 1);  // the last one is long
  EXPECT_LT(step(7, 1), 3 * alone);
  step(1, 7);
  step(8, 0);  // all are in
  EXPECT_LT(step(7, 1), 3 * alone);
}

TEST(PrefillBudget, NeverStandsStillAndNeverPassesTheStep) {
  EXPECT_EQ(settled(1.0), 3);
  EXPECT_EQ(settled(1e-9), 512);
}

TEST(PrefillBudget, FillsPassesOverTheWeights) {
  for (const int answers : {1, 3, 8, 11})
    for (const double row : {0.0005, 0.001, 0.002}) EXPECT_EQ((settled(row, answers) + answers) % 8, 0);
}

TEST(PrefillBudget, FollowsTheMachine) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(1, 0, 0, kStep);
  for (int i = 0; i < 20; ++i) budget.learn(1, 1, 16, kStep + 16 * 0.001);
  const int quick = budget.rows(1, 1, 512);
  for (int i = 0; i < 20; ++i) budget.learn(1, 1, 16, kStep + 16 * 0.004);
  EXPECT_LT(budget.rows(1, 1, 512), quick / 3);
}

TEST(PrefillBudget, BeforeAnythingIsKnownItIsCareful) { EXPECT_EQ(PrefillBudget().rows(1, 1, 512), 15); }

}  // namespace
}  // namespace minke
