#include "base/random.h"

#include <cmath>

#include <gtest/gtest.h>

namespace minke {
namespace {

// Known answers published with the generator (Random123, kat_vectors, philox 4x32 10).
TEST(Random, PhiloxGivesThePublishedAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(UINT64_MAX, UINT64_MAX, UINT64_MAX),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, NormalHasMeanZeroAndVarianceOne) {
  Random random(7);
  double sum = 0, squares = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 100000, 0, 0.02);
  EXPECT_NEAR(squares / 100000, 1, 0.02);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  Random random(3);
  int counts[6] = {};
  for (int i = 0; i < 6000; ++i) ++counts[random.below(6)];
  for (const int n : counts) EXPECT_NEAR(n, 1000, 150);
}

}  // namespace
}  // namespace minke
