#include "ops/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace minke {
namespace {

constexpr float kOut = -std::numeric_limits<float>::infinity();

float group_score(GroupScore kind, const float* choice, int n) {
  float first = kOut, second = kOut;
  for (int i = 0; i < n; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else {
      second = std::max(second, choice[i]);
    }
  }
  return kind == GroupScore::max ? first : n > 1 ? first + second : first;
}

// The choice values of experts outside the best groups become -inf.
void keep_groups(const RouterConfig& c, float* choice) {
  const int size = c.experts / c.groups;
  uint64_t kept[16] = {};  // at most 1024 groups, checked with the config
  for (int k = 0; k < c.kept_groups; ++k) {
    int best = -1;
    float best_score = kOut;
    for (int g = 0; g < c.groups; ++g) {
      if (kept[g / 64] >> g % 64 & 1) continue;
      const float score = group_score(c.group_score, choice + g * size, size);
      if (best < 0 || score > best_score) {
        best = g;
        best_score = score;
      }
    }
    kept[best / 64] |= uint64_t{1} << best % 64;
  }
  for (int g = 0; g < c.groups; ++g)
    if (!(kept[g / 64] >> g % 64 & 1)) std::fill_n(choice + g * size, size, kOut);
}

}  // namespace

void router_scores(const RouterConfig& c, const float* logits, float* scores) {
  if (c.score == RouterScore::sigmoid) {
    for (int i = 0; i < c.experts; ++i) scores[i] = 1.0f / (1.0f + std::exp(-logits[i]));
    return;
  }
  const float peak = *std::max_element(logits, logits + c.experts);
  double total = 0;
  for (int i = 0; i < c.experts; ++i) total += scores[i] = std::exp(logits[i] - peak);
  for (int i = 0; i < c.experts; ++i) scores[i] = static_cast<float>(scores[i] / total);
}

void route(const RouterConfig& c, const float* logits, const float* bias, float* scratch, int32_t* ids,
           float* weights) {
  float *scores = scratch, *choice = scratch + c.experts;
  router_scores(c, logits, scores);
  for (int i = 0; i < c.experts; ++i) choice[i] = bias ? scores[i] + bias[i] : scores[i];
  if (c.group_score != GroupScore::none && c.kept_groups < c.groups) keep_groups(c, choice);

  for (int k = 0; k < c.active; ++k) {
    int best = -1;
    for (int i = 0; i < c.experts; ++i) {
      const bool taken = std::find(ids, ids + k, i) != ids + k;
      if (!taken && (best < 0 || choice[i] > choice[best])) best = i;
    }
    ids[k] = best;
  }
  std::sort(ids, ids + c.active);
  float total = 0.0f;
  for (int k = 0; k < c.active; ++k) total += weights[k] = scores[ids[k]];
  const float factor = c.normalise ? c.scale / (total + 1e-20f) : c.scale;
  for (int k = 0; k < c.active; ++k) weights[k] *= factor;
}

}  // namespace minke
