#pragma once
// How a run is divided over its ranks. Sequences are divided over all of them (data parallel); `zero` and
// `experts` say what else is. All of it follows from numbers alone, for plans as well.

#include "comm/comm.h"
#include "train/parameters.h"

namespace minke {

struct RunConfig;

struct ParallelConfig {
  int zero = 0;     // 1: each rank keeps its share of the optimiser's moments (ZeRO, Rajbhandari et al. 2020)
  int experts = 1;  // ranks that the experts of a layer are divided over
};

// One rank's place. Ranks that follow each other share the experts.
struct RankPlace {
  int rank = 0, ranks = 1;
  ParallelConfig parallel = {};

  int expert_rank() const { return rank % parallel.experts; }
  int replicas() const { return ranks / parallel.experts; }  // ranks with the same experts
  int replica() const { return rank / parallel.experts; }
  bool divides_moments() const { return ranks > 1 && parallel.zero > 0; }
  // Whether no rank has all numbers of a run.
  bool divided() const { return divides_moments() || parallel.experts > 1; }
  // Whether this rank has the weight.
  bool holds(const WeightSlot& slot, int experts) const {
    return slot.expert < 0 || slot.expert / (experts / parallel.experts) == expert_rank();
  }
};

ChosenWeights held_weights(const Config& config, const RankPlace& place);
ChosenWeights both(const ChosenWeights& a, const ChosenWeights& b);

// Throws Error naming what does not divide, or is not done on several ranks.
void require_divisible(const RunConfig& run, int ranks);

// Throws Error, on all ranks, where one has read another config than rank 0.
void require_same_config(const Comm& comm, const RunConfig& run);

// The groups of a rank: all; those it shares experts with; those that have the same experts.
struct RankGroups {
  RankPlace place;
  Comm all, experts, replicas;
};
RankGroups make_groups(const Comm& comm, const ParallelConfig& parallel);

}  // namespace minke
