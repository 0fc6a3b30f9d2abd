#pragma once
// How learning rate and batch size go with the steps of a stage (MODEL.md 6.1).

#include <cstdint>

namespace minke {

// Linear from 0 to `rate` in `warmup` steps, constant for `constant` steps, then half a cosine to
// `final_rate` at the last step. final_rate equal to rate: constant to the end.
struct RateSchedule {
  double rate = 1e-3, final_rate = 1e-4;
  int64_t warmup = 0, constant = 0;
};

// Of step 1, 2, ..., steps.
double rate_at(const RateSchedule& schedule, int64_t step, int64_t steps);

// Sequences of a step: from `first` to `last`, growing evenly over the first `ramp` steps, always in whole
// multiples of `multiple`.
struct BatchSchedule {
  int first = 1, last = 1;
  int64_t ramp = 0;
  int multiple = 1;
};

int batch_at(const BatchSchedule& schedule, int64_t step);
// Sequences of all steps before `step` together.
int64_t sequences_before(const BatchSchedule& schedule, int64_t step);

}  // namespace minke
