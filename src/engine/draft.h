#pragma once
// Speculation: a cheap guess at the next tokens is a draft, and one forward pass then checks the whole draft
// (engine.cpp). Answers are those of plain decoding to the last token, since products and attention give a
// row the same bits whatever is beside it. Guesses come from what was said before (text repeats itself, code
// that is edited above all) or from the model's MTP layer (mtp.h).

#include <array>
#include <span>
#include <vector>

#include "model/load.h"
#include "text/token.h"

namespace minke {

constexpr int kLeastMatch = 3;  // tokens that must agree before what followed them is tried

// What followed, at most `most` tokens of it, where the longest ending of `tokens` was met before; of equals
// the latest. Empty where no ending of kLeastMatch tokens was.
std::vector<Token> look_up(std::span<const Token> tokens, int most);

// How much to draft by lookup for one sequence. A draft that fails costs part of a step: after one follows a
// pause, longer each time, so that text which never repeats loses next to nothing.
class LookupLength {
 public:
  // Tokens to draft in this step; to be asked once a step.
  int next(int most);
  void learn(int drafted, int accepted);

 private:
  int length_ = 4;
  int pause_ = 0, next_pause_ = 1;
};

// What drafting costs, by the bytes that are read. A plain step of one sequence is 1.
struct DraftCost {
  double experts = 0;  // of a step: the experts that a row chose
  double chosen = 1;   // of all experts
  double pass = 0;     // a row through MTP layer and head

  double step(int rows) const;
};
DraftCost draft_cost(const Model& model);

// How much to draft by the MTP layer for one sequence: as many tokens as pay, by how often those at each
// depth were right of late. Where none pay a single one is tried from time to time.
class MtpLength {
 public:
  // Tokens to draft in this step, which `sequences` share; to be asked once a step.
  int next(int most, const DraftCost& cost, int sequences);
  void learn(int drafted, int accepted);
  // So many drafts failed, one after the other, that the layer's rows are not worth their cost.
  bool hopeless() const { return failures_ >= kMostFailures; }

 private:
  static constexpr int kDeepest = 8, kMostFailures = 12;
  // Of the drafts whose tokens before this one were right: how many had this one, and had it right. The older
  // the less they count.
  struct Rate {
    double right = 1.6, tried = 2;
  };
  std::array<Rate, kDeepest> rates_;
  int pause_ = 0, next_pause_ = 1, failures_ = 0;
};

}  // namespace minke
