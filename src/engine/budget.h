#pragma once
// How many prompt tokens a step may take beside answers under way, so that those who read them see no pause.

namespace minke {

class PrefillBudget {
 public:
  // Rows for `prompts` prompts in a step with `answers` answers, `most` at most. The more prompts wait for
  // each answer, the more rows they get.
  int rows(int answers, int prompts, int most) const;
  // What the last step held, and how long it took.
  void learn(int answers, int prompt_rows, double seconds);

 private:
  double answer_step_ = 0;  // seconds of a step of answers alone, of late
  double row_ = 0;          // seconds that a prompt row adds, of late
};

}  // namespace minke
