#include "engine/budget.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

// A machine that takes `step` seconds to read the weights and `row` for each prompt row beyond.
int settled(double step, double row) {
  PrefillBudget budget;
  for (int i = 0; i < 20; ++i) budget.learn(3, 0, step);
  for (int i = 0; i < 200; ++i) {
    const int rows = budget.rows(3, 512);
    budget.learn(3, rows, step + row * rows);
  }
  return budget.rows(3, 512);
}

TEST(PrefillBudget, AloneAPromptTakesAll) { EXPECT_EQ(PrefillBudget().rows(0, 512), 512); }

TEST(PrefillBudget, SettlesWhereAStepIsNotMuchSlower) {
  for (const double row : {0.0005, 0.002, 0.004}) {
    const int rows = settled(0.033, row);
    EXPECT_LE(0.033 + row * rows, 0.033 * 3) << row;
    EXPECT_GE(0.033 + row * rows, 0.033 * 1.7) << row;
  }
}

TEST(PrefillBudget, NeverStandsStill) {
  EXPECT_GE(settled(0.033, 1.0), 8);
  EXPECT_EQ(settled(0.033, 0), 512);
}

TEST(PrefillBudget, AShortPromptTeachesNothing) {
  PrefillBudget budget;
  budget.learn(1, 0, 0.01);
  for (int i = 0; i < 100; ++i) budget.learn(1, 1, 0.011);
  EXPECT_EQ(budget.rows(1, 512), 16);
}

}  // namespace
}  // namespace minke
