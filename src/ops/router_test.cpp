#include "ops/router.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/random.h"

namespace minke {
namespace {

struct Routed {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Routed route_one(const RouterConfig& c, const std::vector<float>& logits,
                 const std::vector<float>& bias = {}) {
  std::vector<float> scratch(2 * logits.size());
  Routed r{std::vector<int32_t>(static_cast<size_t>(c.active)),
           std::vector<float>(static_cast<size_t>(c.active))};
  route(c, logits.data(), bias.empty() ? nullptr : bias.data(), scratch.data(), r.ids.data(),
        r.weights.data());
  return r;
}

RouterConfig v3(int experts, int active, int groups, int kept) {
  RouterConfig c;
  c.experts = experts;
  c.active = active;
  c.score = RouterScore::sigmoid;
  c.group_score = GroupScore::top2_sum;
  c.groups = groups;
  c.kept_groups = kept;
  c.normalise = true;
  c.scale = 2.5f;
  return c;
}

// MODEL.md 2.7 in doubles, by sorting whole lists.
Routed reference(const RouterConfig& c, const std::vector<float>& logits, const std::vector<float>& bias) {
  const size_t n = logits.size();
  std::vector<double> s(n), choice(n);
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += std::exp(double{logits[i]});
  for (size_t i = 0; i < n; ++i) {
    s[i] = c.score == RouterScore::softmax ? std::exp(double{logits[i]}) / total
                                           : 1 / (1 + std::exp(-double{logits[i]}));
    choice[i] = s[i] + (bias.empty() ? 0 : bias[i]);
  }
  const size_t size = n / static_cast<size_t>(c.groups);
  std::vector<std::pair<double, size_t>> groups;
  for (size_t g = 0; g < static_cast<size_t>(c.groups); ++g) {
    std::vector<double> in(choice.begin() + static_cast<int64_t>(g * size),
                           choice.begin() + static_cast<int64_t>((g + 1) * size));
    std::sort(in.rbegin(), in.rend());
    groups.emplace_back(c.group_score == GroupScore::max || in.size() < 2 ? -in[0] : -(in[0] + in[1]), g);
  }
  std::sort(groups.begin(), groups.end());
  std::vector<std::pair<double, size_t>> experts;
  const int kept = c.group_score == GroupScore::none ? c.groups : c.kept_groups;
  for (int k = 0; k < kept; ++k)
    for (size_t i = 0; i < size; ++i) {
      const size_t e = groups[static_cast<size_t>(k)].second * size + i;
      experts.emplace_back(-choice[e], e);
    }
  std::sort(experts.begin(), experts.end());
  Routed r;
  double sum = 0;
  for (int k = 0; k < c.active; ++k)
    r.ids.push_back(static_cast<int32_t>(experts[static_cast<size_t>(k)].second));
  std::sort(r.ids.begin(), r.ids.end());
  for (const int32_t e : r.ids) sum += s[static_cast<size_t>(e)];
  for (const int32_t e : r.ids)
    r.weights.push_back(
        static_cast<float>(s[static_cast<size_t>(e)] * c.scale / (c.normalise ? sum + 1e-20 : 1)));
  return r;
}

TEST(Router, AsTheFormulasSay) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const int groups = 1 << random.below(4), size = 2 + static_cast<int>(random.below(9));
    const int kept = 1 + static_cast<int>(random.below(static_cast<uint64_t>(groups)));
    RouterConfig c = v3(groups * size, 1 + static_cast<int>(random.below(static_cast<uint64_t>(kept * size))),
                        groups, kept);
    c.score = random.below(2) ? RouterScore::sigmoid : RouterScore::softmax;
    c.group_score = std::vector{GroupScore::none, GroupScore::max, GroupScore::top2_sum}[random.below(3)];
    c.normalise = random.below(2);
    std::vector<float> logits(static_cast<size_t>(c.experts)), bias;
    for (float& l : logits) l = 2 * random.normal();
    if (random.below(2))
      for (int i = 0; i < c.experts; ++i) bias.push_back(0.3f * random.normal());
    const Routed given = route_one(c, logits, bias), wanted = reference(c, logits, bias);
    RC_ASSERT(given.ids == wanted.ids);
    for (size_t i = 0; i < given.ids.size(); ++i)
      RC_ASSERT(std::abs(given.weights[i] - wanted.weights[i]) <= 1e-5f * std::abs(wanted.weights[i]));
  }));
}

TEST(Router, TiesGoToTheLowerExpertAndTheLowerGroup) {
  EXPECT_EQ(route_one(v3(16, 4, 4, 2), std::vector<float>(16, 0.5f)).ids, (std::vector<int32_t>{0, 1, 2, 3}));
  // Groups 1 and 3 are equal and better than 0 and 2; with one kept it is 1.
  std::vector<float> logits(16, 0.0f);
  for (const size_t i : {4, 5, 12, 13}) logits[i] = 1.0f;
  EXPECT_EQ(route_one(v3(16, 2, 4, 1), logits).ids, (std::vector<int32_t>{4, 5}));
  EXPECT_EQ(route_one(v3(16, 3, 4, 2), logits).ids, (std::vector<int32_t>{4, 5, 12}));
}

TEST(Router, TheBiasChoosesAndDoesNotWeigh) {
  const RouterConfig c = v3(4, 2, 1, 1);
  const std::vector<float> logits = {1, 0, -1, -2}, bias = {0, 0, 0, 5};
  const Routed r = route_one(c, logits, bias);
  EXPECT_EQ(r.ids, (std::vector<int32_t>{0, 3}));
  const float s0 = 1 / (1 + std::exp(-1.0f)), s3 = 1 / (1 + std::exp(2.0f));
  EXPECT_NEAR(r.weights[0], 2.5f * s0 / (s0 + s3), 1e-6);
  EXPECT_NEAR(r.weights[1], 2.5f * s3 / (s0 + s3), 1e-6);
}

TEST(Router, NegativeChoicesOfKeptGroupsBeatTheRest) {  // groups left out get -inf, not 0
  const std::vector<float> logits(8, 0.0f), bias = {-2, -2, -2, -2, -9, -9, -9, -9};
  EXPECT_EQ(route_one(v3(8, 3, 2, 1), logits, bias).ids, (std::vector<int32_t>{0, 1, 2}));
}

TEST(Router, AnyNumbersGiveDistinctExpertsInOrder) {
  const float values[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e38f, -1e38f, 1.0f};
  EXPECT_TRUE(rc::check([&] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    RouterConfig c = v3(16, 4, 4, 2);
    c.score = random.below(2) ? RouterScore::sigmoid : RouterScore::softmax;
    std::vector<float> logits(16), bias(16);
    for (float& l : logits) l = values[random.below(8)];
    for (float& b : bias) b = values[random.below(8)];
    const std::vector<int32_t> ids = route_one(c, logits, bias).ids;
    for (const int32_t id : ids) RC_ASSERT(id >= 0 && id < 16);
    RC_ASSERT(std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end());
  }));
}

}  // namespace
}  // namespace minke
