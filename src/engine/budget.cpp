#include "engine/budget.h"

#include <algorithm>

namespace minke {
namespace {

constexpr double kSlower = 2.5;   // than a step of answers alone
constexpr double kLeastRows = 8;  // else a prompt would never end

}  // namespace

int PrefillBudget::rows(int answers, int most) const {
  return answers == 0 ? most : std::min(most, static_cast<int>(rows_));
}

void PrefillBudget::learn(int answers, int prompt_rows, double seconds) {
  if (answers == 0) return;
  if (prompt_rows == 0) {
    answer_step_ = answer_step_ == 0 ? seconds : 0.9 * answer_step_ + 0.1 * seconds;
    return;
  }
  if (answer_step_ == 0) return;
  if (seconds > kSlower * answer_step_)
    rows_ = std::max(kLeastRows, std::min(rows_, static_cast<double>(prompt_rows)) * 0.75);
  else if (prompt_rows >= static_cast<int>(rows_))
    rows_ *= 1.125;
}

}  // namespace minke
