#include "engine/measure.h"

#include <gtest/gtest.h>

#include "model/random_config.h"
#include "plan/counts.h"

namespace minke {
namespace {

TEST(Measure, PromptsCountKeysAndValuesAloneInTheLastLayer) {
  Random random(11);
  Config one = random_config(random, "llama");
  one.layers = 1;
  Config two = one;
  two.layers = 2;
  constexpr int kVisible = 100;
  const int64_t layer = count(two).active - count(one).active + attention_multiplies(one, kVisible);
  EXPECT_EQ(prefill_multiplies(two, kVisible) - prefill_multiplies(one, kVisible), layer);
  // What is left of one layer: keys, values and the norm of what comes out.
  EXPECT_EQ(prefill_multiplies(one, kVisible), int64_t{one.dim} * (2 * one.kv_heads * one.head_dim + 1));
}

}  // namespace
}  // namespace minke
