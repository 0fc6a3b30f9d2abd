#pragma once
// Speculation by lookup: text repeats itself, code that is edited above all. What followed the last time is
// tried as a draft, and one forward pass then checks the whole draft (engine.cpp). Answers are those of plain
// decoding to the last token, since products and attention give a row the same bits whatever is beside it.

#include <span>
#include <vector>

#include "text/token.h"

namespace minke {

constexpr int kLeastMatch = 3;  // tokens that must agree before what followed them is tried

// What followed, at most `most` tokens of it, where the longest ending of `tokens` was met before; of equals
// the latest. Empty where no ending of kLeastMatch tokens was.
std::vector<Token> look_up(std::span<const Token> tokens, int most);

// How much to draft for one sequence. A draft that fails costs part of a step: after one follows a pause,
// longer each time, so that text which never repeats loses next to nothing.
class DraftLength {
 public:
  // Tokens to draft in this step; to be asked once a step.
  int next(int most);
  void learn(int drafted, int accepted);

 private:
  int length_ = 4;
  int pause_ = 0, next_pause_ = 1;
};

}  // namespace minke
