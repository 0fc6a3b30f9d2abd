#pragma once
// What goes back through the router, and what keeps its experts balanced (MODEL.md 2.7).

#include <cstdint>
#include <span>

#include "ops/router.h"

namespace minke {

// One token: dlogits [experts] += the gradient, where ids and weights [active] are what route gave for
// `logits` and dweights [active] their gradient. The choice itself has none. scratch [experts].
void route_backward(const RouterConfig& config, const float* logits, const int32_t* ids,
                    const float* dweights, float* scratch, float* dlogits);

// The sequence-wise balance loss of one sequence, logits [tokens][experts]:
//   alpha sum_i f_i p_i,  f_i = experts / (active tokens) * how often i is among the `active` best scores,
//   p_i = mean over tokens of s_i / sum_j s_j.
// dlogits += scale times its gradient, where f is a constant (DeepSeek-V3, 2.1.2). Returns the loss.
double balance_loss(const RouterConfig& config, const float* logits, int tokens, double alpha, float scale,
                    float* dlogits);

// bias_i += gamma * sign(mean(loads) - loads_i), after a step in which expert i met loads[i] tokens.
void update_router_bias(std::span<const int64_t> loads, float gamma, float* bias);

}  // namespace minke
