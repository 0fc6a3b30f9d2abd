#include "engine/budget.h"

#include <algorithm>

namespace minke {
namespace {

constexpr double kSlower = 2.0;  // than a step of answers alone, for each prompt that waits
constexpr int kLeastRows = 3;    // else a prompt would never end
constexpr int kPass = 8;  // rows that meet weights in one pass (Kernels::few); one more takes a second pass
constexpr int kUnknown = 16;  // before anything was measured
constexpr double kNew = 0.2;  // weight of what was measured last

void blend(double& mean, double value) { mean = mean == 0 ? value : mean + kNew * (value - mean); }

}  // namespace

int PrefillBudget::rows(int answers, int prompts, int most) const {
  if (answers == 0) return most;
  double rows = kUnknown;
  if (first_row_ > 0 && row_ > 0) {
    const double alone = first_row_ + row_ * (answers - 1);
    rows = (kSlower * std::max(prompts, 1) - 1) * alone / row_;
  }
  const int wanted = static_cast<int>(std::clamp(rows, double{kLeastRows}, 1e6));
  const int passes = (answers + wanted) / kPass * kPass - answers;
  return std::min(most, 2 * passes > wanted ? passes : wanted);
}

void PrefillBudget::learn(int answers, int prompt_rows, double seconds) {
  const int more = answers + prompt_rows - 1;  // rows behind the first
  if (prompt_rows == 0)
    blend(first_row_, std::max(seconds - row_ * more, 0.1 * seconds));
  else if (prompt_rows >= kLeastRows)  // fewer say little
    blend(row_, std::max(seconds - first_row_, 0.1 * seconds) / more);
}

}  // namespace minke
