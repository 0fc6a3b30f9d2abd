#pragma once
// Numbers that are divided over ranks, brought together on rank 0 and divided again: what checkpoints and
// saved models are made of is the same whatever the ranks.

#include <vector>

#include "comm/collectives.h"
#include "train/optimizer.h"

namespace minke {

// A part of a set (train/parameters.h) that one rank has.
struct HeldPart {
  int64_t at;  // in the set as one process has it
  std::span<float> numbers;
  bool answers = true;  // this rank gives it; of several that have the same, one does
};

// Of a set over some of the weights that are chosen: those that are there. `first`: whether this rank answers
// for the experts it has.
std::vector<HeldPart> held_parts(const Config& config, const ChosenWeights& chosen, const Weights& set,
                                 int rank, bool first);
// Of divided moments.
std::vector<HeldPart> moment_parts(const Config& config, const ChosenWeights& chosen,
                                   std::span<const TrainedTensor> own, float* TrainedTensor::* moment);

// All parts of all ranks, to `whole` at rank 0 (of others nothing is written to).
void collect(const Comm& comm, std::span<const HeldPart> parts, std::span<float> whole);
// From `whole` of rank 0, of so many numbers, to the parts that each rank has.
void distribute(const Comm& comm, std::span<const float> whole, int64_t count,
                std::span<const HeldPart> parts);

}  // namespace minke
