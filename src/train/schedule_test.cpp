#include "train/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace minke {
namespace {

TEST(Schedule, RateRisesStaysAndFalls) {
  const RateSchedule s{1.0, 0.1, 10, 20};
  EXPECT_DOUBLE_EQ(rate_at(s, 1, 100), 0.1);
  EXPECT_DOUBLE_EQ(rate_at(s, 10, 100), 1.0);
  EXPECT_DOUBLE_EQ(rate_at(s, 30, 100), 1.0);
  EXPECT_NEAR(rate_at(s, 65, 100), 0.55, 1e-12);
  EXPECT_NEAR(rate_at(s, 100, 100), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(rate_at({2.0, 2.0, 0, 0}, 7, 9), 2.0);
  EXPECT_DOUBLE_EQ(rate_at({2.0, 1.0, 5, 50}, 9, 9), 2.0);  // ends before it would fall
}

TEST(Schedule, BatchGrowsInWholeMultiplesAndIsCounted) {
  const BatchSchedule s{4, 16, 6, 4};
  EXPECT_EQ(batch_at(s, 1), 4);
  EXPECT_EQ(batch_at(s, 7), 16);
  int64_t sum = 0;
  for (int64_t step = 1; step < 20; ++step) {
    EXPECT_EQ(sequences_before(s, step), sum);
    EXPECT_EQ(batch_at(s, step) % 4, 0);
    EXPECT_LE(batch_at(s, step), batch_at(s, step + 1));
    sum += batch_at(s, step);
  }
}

}  // namespace
}  // namespace minke
