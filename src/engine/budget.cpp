#include "engine/budget.h"

#include <algorithm>

namespace minke {
namespace {

constexpr double kSlower = 2.0;     // than a step of answers alone, for each prompt that waits
constexpr double kCrowdEnds = 0.1;  // prompts a step: those that read what came early pause for a while only
constexpr int kLeastRows = 3;       // else a prompt would never end
constexpr int kPass = 8;  // rows that meet weights in one pass (Kernels::few); one more takes a second pass
constexpr double kUnknown = 16;  // rows in the time of a step, before anything was measured
constexpr double kNew = 0.2;     // weight of what was measured last

void blend(double& mean, double value) { mean = mean == 0 ? value : mean + kNew * (value - mean); }

}  // namespace

int PrefillBudget::rows(int answers, int prompts, int most) const {
  if (answers == 0) return most;
  const double slower = kSlower * std::max({crowd_, double(prompts), 1.0}) - 1;
  const bool known = first_row_ > 0 && row_ > 0;
  const double rows = slower * (known ? (first_row_ + row_ * (answers - 1)) / row_ : kUnknown);
  const int wanted = static_cast<int>(std::clamp(rows, double{kLeastRows}, 1e6));
  const int passes = (answers + wanted) / kPass * kPass - answers;
  return std::min(most, 2 * passes > wanted ? passes : wanted);
}

void PrefillBudget::learn(int answers, int prompts, int prompt_rows, double seconds) {
  crowd_ = prompts == 0 ? 0 : std::max(crowd_ - kCrowdEnds, double(prompts));
  const int more = answers + prompt_rows - 1;  // rows behind the first
  if (prompt_rows == 0)
    blend(first_row_, std::max(seconds - row_ * more, 0.1 * seconds));
  else if (prompt_rows >= kLeastRows)  // fewer say little
    blend(row_, std::max(seconds - first_row_, 0.1 * seconds) / more);
}

}  // namespace minke
