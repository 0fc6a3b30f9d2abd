#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace minke {

double rate_at(const RateSchedule& s, int64_t step, int64_t steps) {
  if (step <= s.warmup) return s.rate * static_cast<double>(step) / static_cast<double>(s.warmup);
  const int64_t begin = s.warmup + s.constant, length = steps - begin;
  if (step <= begin || length <= 0) return s.rate;
  const double done = std::min(1.0, static_cast<double>(step - begin) / static_cast<double>(length));
  return s.final_rate + (s.rate - s.final_rate) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

int batch_at(const BatchSchedule& s, int64_t step) {
  if (step > s.ramp || s.ramp == 0) return s.last;
  const int64_t grown = s.first + (s.last - s.first) * (step - 1) / s.ramp;
  return static_cast<int>(std::max<int64_t>(grown / s.multiple, 1) * s.multiple);
}

int64_t sequences_before(const BatchSchedule& s, int64_t step) {
  int64_t sum = 0;
  const int64_t ramped = std::min(step - 1, s.ramp);
  for (int64_t i = 1; i <= ramped; ++i) sum += batch_at(s, i);
  return sum + (step - 1 - ramped) * s.last;
}

}  // namespace minke
