#pragma once
// What a run will take, from numbers alone: parameters, memory, floating-point operations.

#include "train/run_config.h"

namespace minke {

struct RunMemory {
  int64_t weights = 0, gradients = 0, moments = 0, activations = 0;
  int64_t messages = 0;  // on their way between ranks
  int64_t total() const { return weights + gradients + moments + activations + messages; }
};

// Of one rank, in the stage that takes most. Rank 0 has as much again of what is divided while it reads or
// writes a checkpoint: that is apart.
RunMemory run_memory(const RunConfig& run, int threads, const RankPlace& place = {});
int64_t checkpoint_memory(const RunConfig& run, const RankPlace& place);

// Bytes that all ranks together send in a step, with experts evenly loaded.
double step_traffic(const RunConfig& run, const StageConfig& stage, const RankPlace& place);

// Floating-point operations of a step: six for each active weight and token (products forward, and two
// backward), and attention's over documents as long as a sequence. tokens: without those of its reference.
double step_flops(const StageConfig& stage, int64_t tokens);
double run_flops(const RunConfig& run);
int64_t run_tokens(const RunConfig& run);

// Throws Error where the run needs more memory than this machine has, with so many ranks on it; says how
// much.
void require_run_memory(const RunConfig& run, int threads, const RankPlace& place = {}, int ranks_here = 1);

}  // namespace minke
