#pragma once
// What an answer may go on with: the place where constraints meet the sampler.

#include <span>

#include "text/token.h"

namespace minke {

// One answer's. The engine calls it on its own thread, `mask` before and `take` after each draw.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // Sets the logits [vocab] of tokens that may not come next to -infinity, and leaves at least one.
  // `left`: how many may come until the answer is cut off, at least 1.
  virtual void mask(std::span<float> logits, int left) = 0;
  virtual void take(Token token) = 0;
};

}  // namespace minke
