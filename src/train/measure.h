#pragma once
// How fast a run will be, from a few of its steps on random tokens.

#include "train/run_config.h"

namespace minke {

// Floating-point operations a second that all threads together can do in registers, in this precision: two
// for each multiply-add. What shares of a peak are shares of.
double peak_flops(const Context& ctx, Precision precision);

struct StepSpeed {
  double tokens_per_second = 0;
  double flops_per_second = 0;
};

// The median of `steps` steps of a stage, after one that is not counted; nothing is kept of them.
StepSpeed measure_stage(const Context& ctx, const RunConfig& run, int stage, int steps);

}  // namespace minke
