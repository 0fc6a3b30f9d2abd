#include "engine/budget.h"

#include <algorithm>

namespace minke {
namespace {

constexpr double kSlower = 2.5;  // than a step of answers alone, for one prompt beside each
constexpr int kLeastRows = 8;    // else a prompt would never end
constexpr int kUnknown = 16;     // before anything was measured
constexpr double kNew = 0.2;     // weight of what was measured last

void blend(double& mean, double value) { mean = mean == 0 ? value : mean + kNew * (value - mean); }

}  // namespace

int PrefillBudget::rows(int answers, int prompts, int most) const {
  if (answers == 0) return most;
  double rows = kUnknown;
  if (answer_step_ > 0 && row_ > 0) {
    const double slower = kSlower * std::max(1.0, static_cast<double>(prompts) / answers);
    rows = (slower - 1) * answer_step_ / row_;
  }
  return std::min(most, static_cast<int>(std::clamp(rows, double{kLeastRows}, 1e6)));
}

void PrefillBudget::learn(int answers, int prompt_rows, double seconds) {
  if (prompt_rows == 0)
    blend(answer_step_, seconds);
  else if (prompt_rows >= kLeastRows)  // fewer say little
    blend(row_, std::max(seconds - (answers > 0 ? answer_step_ : 0), 0.1 * seconds) / prompt_rows);
}

}  // namespace minke
