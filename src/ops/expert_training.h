#pragma once
// Mixture of experts in training (MODEL.md 2.8): rows are sorted by expert, and what each expert made of them
// is kept for the way back.

#include <functional>

#include "ops/expert_parallel.h"
#include "ops/experts.h"
#include "ops/projection.h"

namespace minke {

// The experts' matrices, and where their gradients go; without data of a matrix none is computed.
struct ExpertGradient {
  float *gate, *up, *down;
};

// Where experts are divided over ranks: the rows that came to this one, R of them, by expert. R is known when
// they come; memory grows with the most there were.
struct ExpertsRows {  // kept from forward to backward
  ExpertRoutes routes;
  std::vector<float> rows, gate, up;  // [R][dim], [R][inter] twice
};
struct ExpertsSpace {                          // of a call
  std::vector<float> back, inner, dgate, dup;  // [R][dim], [R][inter]
  std::vector<float> weights, dweights;        // [R]
  std::vector<float> slot_weights, travel;     // [S], rows in the order of travel
};
struct ExpertsOverRanks {
  const Comm* comm;
  ExpertsRows* kept;
  ExpertsSpace* space;
};

// S = tokens * active slots, each a (token, choice).
struct TrainedExperts {
  int experts, active, inter;
  std::span<const Expert> weights;  // [experts], f32
  const int32_t* ids;               // [tokens][active]
  const float* router_weights;      // [tokens][active]
  // Kept from forward to backward
  int32_t* order;    // [S]: slot of each (token, choice)
  int32_t* starts;   // [experts + 1]: first slot of each expert
  float *gate, *up;  // [S][inter], by slot
  // Instead of gate and up, and of the scratch's inner, dgate and dup; weights of other ranks' experts are
  // null.
  const ExpertsOverRanks* ranks = nullptr;
};

// Memory of one call.
struct ExpertScratch {
  float* rows;         // [S][dim]
  float* back;         // [S][dim]
  float* inner;        // [S][inter]
  float *dgate, *dup;  // [S][inter]
};

// What else there is to compute, done while rows travel to experts of other ranks and back, and at the same
// two points where none do. It advances the travel now and then.
struct Meanwhile {
  std::function<void(Pending& travel)> there, back;
};

// out[t] += sum over the chosen of router_weight * expert(x[t]).
void train_experts(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                   const ExpertScratch& scratch, const Meanwhile& meanwhile, float* out);

// dx[t] += its gradient; drouter [tokens][active] = that of the router's weights; gradient [experts].
void train_experts_backward(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                            const float* dout, const ExpertScratch& scratch, const Meanwhile& meanwhile,
                            float* dx, float* drouter, std::span<const ExpertGradient> gradients);

}  // namespace minke
