#include "ops/router_backward.h"

#include <numeric>

#include "ops/test_gradient.h"

namespace minke {
namespace {

RouterConfig router(RouterScore score, bool normalise) {
  RouterConfig c;
  c.experts = 8;
  c.active = 3;
  c.score = score;
  c.normalise = normalise;
  c.scale = 2.5f;
  return c;
}

Doubles scores(const RouterConfig& c, const double* logits) {
  Doubles s(static_cast<size_t>(c.experts));
  double total = 0;
  for (size_t i = 0; i < s.size(); ++i)
    total += s[i] = c.score == RouterScore::softmax ? std::exp(logits[i]) : 1 / (1 + std::exp(-logits[i]));
  if (c.score == RouterScore::softmax)
    for (double& v : s) v /= total;
  return s;
}

TEST(RouterBackward, WeightsOfTheChosen) {
  Random random(1);
  for (const RouterScore score : {RouterScore::sigmoid, RouterScore::softmax})
    for (const bool normalise : {false, true}) {
      const RouterConfig c = router(score, normalise);
      const auto logits = random_floats(random, c.experts), dweights = random_floats(random, c.active),
                 bias = random_floats(random, c.experts);
      std::vector<float> scratch(16), weights(3), dlogits(8);
      std::vector<int32_t> ids(3);
      route(c, logits.data(), bias.data(), scratch.data(), ids.data(), weights.data());
      route_backward(c, logits.data(), ids.data(), dweights.data(), scratch.data(), dlogits.data());
      const auto f = [&](const Doubles& at) {  // the choice stays
        const Doubles s = scores(c, at.data());
        double total = 0;
        for (const int32_t id : ids) total += s[static_cast<size_t>(id)];
        double sum = 0;
        for (size_t k = 0; k < ids.size(); ++k)
          sum += dweights[k] * c.scale * s[static_cast<size_t>(ids[k])] / (normalise ? total : 1);
        return sum;
      };
      expect_gradient(logits, dlogits, f, normalise ? "normalised" : "plain");
    }
}

TEST(RouterBackward, BalanceLoss) {
  Random random(2);
  constexpr int kTokens = 6;
  for (const RouterScore score : {RouterScore::sigmoid, RouterScore::softmax}) {
    const RouterConfig c = router(score, true);
    const auto logits = random_floats(random, kTokens * c.experts);
    std::vector<float> dlogits(logits.size());
    const double loss = balance_loss(c, logits.data(), kTokens, 0.1, 2.0f, dlogits.data());
    Doubles often(static_cast<size_t>(c.experts));
    for (int t = 0; t < kTokens; ++t) {
      std::vector<size_t> order(often.size());
      std::iota(order.begin(), order.end(), size_t{0});
      const float* row = logits.data() + t * c.experts;
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return row[a] > row[b]; });
      for (int k = 0; k < c.active; ++k) often[order[static_cast<size_t>(k)]] += 1;
    }
    const auto f = [&](const Doubles& at) {
      double sum = 0;
      for (int t = 0; t < kTokens; ++t) {
        const Doubles s = scores(c, at.data() + t * c.experts);
        const double total = std::accumulate(s.begin(), s.end(), 0.0);
        for (size_t i = 0; i < s.size(); ++i)
          sum += 0.1 * often[i] * c.experts / (c.active * kTokens) * s[i] / total / kTokens;
      }
      return 2 * sum;
    };
    EXPECT_NEAR(2 * loss, f(doubles(logits)), 1e-7);
    expect_gradient(logits, dlogits, f, "logits");
  }
}

TEST(RouterBackward, BiasMovesTowardsTheMeanAndStaysThere) {
  std::vector<float> bias = {0.5f, 0.5f, 0.5f, 0.5f};
  const std::vector<int64_t> loads = {5, 3, 4, 4};
  update_router_bias(loads, 0.25f, bias.data());
  EXPECT_EQ(bias, (std::vector<float>{0.25f, 0.75f, 0.5f, 0.5f}));
}

}  // namespace
}  // namespace minke
