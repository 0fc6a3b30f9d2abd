#include "ops/router_backward.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace minke {
namespace {

// From the gradient by scores to that by logits; dscore(i) is asked for every expert.
template <typename F>
void scores_backward(const RouterConfig& c, const float* scores, float* dlogits, F dscore) {
  if (c.score == RouterScore::sigmoid) {
    for (int i = 0; i < c.experts; ++i)
      dlogits[i] += static_cast<float>(dscore(i) * scores[i] * (1.0 - scores[i]));
    return;
  }
  double along = 0;
  for (int i = 0; i < c.experts; ++i) along += dscore(i) * scores[i];
  for (int i = 0; i < c.experts; ++i) dlogits[i] += static_cast<float>(scores[i] * (dscore(i) - along));
}

}  // namespace

void route_backward(const RouterConfig& c, const float* logits, const int32_t* ids, const float* dweights,
                    float* scratch, float* dlogits) {
  router_scores(c, logits, scratch);
  double total = 0, along = 0;
  for (int k = 0; k < c.active; ++k) {
    total += scratch[ids[k]];
    along += double{dweights[k]} * scratch[ids[k]];
  }
  total += 1e-20;
  scores_backward(c, scratch, dlogits, [&](int i) -> double {
    const int32_t* found = std::find(ids, ids + c.active, i);
    if (found == ids + c.active) return 0;
    const double d = dweights[found - ids];
    return c.scale * (c.normalise ? (d - along / total) / total : d);
  });
}

double balance_loss(const RouterConfig& c, const float* logits, int tokens, double alpha, float scale,
                    float* dlogits) {
  const size_t experts = static_cast<size_t>(c.experts);
  std::vector<float> scores(experts * static_cast<size_t>(tokens));
  std::vector<double> f(experts), p(experts);
  std::vector<int> best(experts);
  for (int t = 0; t < tokens; ++t) {
    float* s = &scores[static_cast<size_t>(t) * experts];
    router_scores(c, logits + int64_t{t} * c.experts, s);
    std::iota(best.begin(), best.end(), 0);
    std::partial_sort(best.begin(), best.begin() + c.active, best.end(),
                      [&](int a, int b) { return s[a] != s[b] ? s[a] > s[b] : a < b; });
    for (int k = 0; k < c.active; ++k) f[static_cast<size_t>(best[static_cast<size_t>(k)])] += 1;
    const double total = std::accumulate(s, s + experts, 0.0);
    for (size_t i = 0; i < experts; ++i) p[i] += s[i] / total / tokens;
  }
  double loss = 0;
  for (size_t i = 0; i < experts; ++i) {
    f[i] *= static_cast<double>(c.experts) / (static_cast<double>(c.active) * tokens);
    loss += alpha * f[i] * p[i];
  }
  for (int t = 0; t < tokens; ++t) {
    const float* s = &scores[static_cast<size_t>(t) * experts];
    const double total = std::accumulate(s, s + experts, 0.0);
    double mean = 0;  // of f, by what share of the scores each expert has
    for (size_t i = 0; i < experts; ++i) mean += f[i] * s[i] / total;
    scores_backward(c, s, dlogits + int64_t{t} * c.experts, [&](int i) {
      return scale * alpha / tokens * (f[static_cast<size_t>(i)] - mean) / total;
    });
  }
  return loss;
}

void update_router_bias(std::span<const int64_t> loads, float gamma, float* bias) {
  const int64_t all = std::accumulate(loads.begin(), loads.end(), int64_t{0}),
                experts = static_cast<int64_t>(loads.size());
  for (size_t i = 0; i < loads.size(); ++i) {  // compared as integers: the mean may be none
    const int64_t mine = loads[i] * experts;
    if (mine != all) bias[i] += mine < all ? gamma : -gamma;
  }
}

}  // namespace minke
