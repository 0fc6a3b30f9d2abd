#pragma once
// How many prompt tokens a step may take beside answers under way, so that those who read them see no pause.

namespace minke {

class PrefillBudget {
 public:
  // Rows for `prompts` prompts in a step with `answers` answers, `most` at most. The more prompts wait, or
  // waited a few steps ago, the more rows they get, and the better rows are used: a crowd is soon answering
  // together, its last as well.
  int rows(int answers, int prompts, int most) const;
  // What the last step held, and how long it took.
  void learn(int answers, int prompts, int prompt_rows, double seconds);

 private:
  double crowd_ = 0;  // prompts that wait, or a little fewer than waited lately
  // Seconds, of late. A step of any rows is taken to last first_row_ and row_ for each further one.
  double first_row_ = 0, row_ = 0;
};

}  // namespace minke
