#pragma once
// Which experts a token goes to, and with what weights (MODEL.md 2.7).

#include <cstdint>

namespace minke {

enum class RouterScore : uint8_t { softmax, sigmoid };
enum class GroupScore : uint8_t { none, max, top2_sum };  // of an expert group: V2's, V3's

struct RouterConfig {
  int experts = 0, active = 0;
  RouterScore score = RouterScore::softmax;
  GroupScore group_score = GroupScore::none;
  int groups = 1, kept_groups = 1;
  bool normalise = false;  // weights divided by their sum (+ 1e-20)
  float scale = 1.0f;      // then multiplied by this
  bool operator==(const RouterConfig&) const = default;
};

// scores [experts] from logits [experts]; they may be the same memory.
void router_scores(const RouterConfig& config, const float* logits, float* scores);

// One token. logits [experts]; bias [experts] is added for the choice only, or null. ids [active] ascending,
// weights [active] in the same order; ties go to the lower expert, and to the lower group. scratch [2 *
// experts].
void route(const RouterConfig& config, const float* logits, const float* bias, float* scratch, int32_t* ids,
           float* weights);

}  // namespace minke
