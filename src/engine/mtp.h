#pragma once
// Drafts by the MTP layer (DeepSeek-V3 report, section 2.2). Its row at position t takes the model's final
// hidden state of t and the token behind it, and guesses the token after that; for a second guess its own
// output stands in for the hidden state of t + 1, and so on.

#include <span>
#include <vector>

#include "engine/sequence.h"
#include "model/instance.h"

namespace minke {

// What a step fed of a sequence, and how much the MTP layer is to draft for the next one.
struct Fed {
  Sequence* sequence;
  int row;       // of its first token, in the step
  int position;  // of that token
  int draft;     // tokens; 0 unless all but the last of the sequence's tokens were fed
};

class MtpDrafter {
 public:
  // banned: tokens that never come out. Instance and list must outlive this.
  MtpDrafter(Instance& instance, const std::vector<Token>& banned) : instance_(instance), banned_(banned) {}

  // Whether the layer follows a sequence that was fed from `position` on: it has all rows before, and its
  // drafts are worth having.
  static bool follows(const Sequence& s, int position) {
    return s.kv.mtp_length == position && !s.mtp_length.hopeless();
  }

  // To be called after a step that kept its hidden states, when its tokens were chosen. Writes the layer's
  // rows of what was fed and is kept, and fills the drafts, of the sequences it follows. A draft is what the
  // sampler takes from the layer's logits by the same random number that it will have for the model's.
  void follow(std::span<const Fed> fed);

 private:
  // A sequence whose draft grows: its logits and output are row `row` of the pass before.
  struct Growing {
    Sequence* sequence;
    int row, wanted;
  };

  void catch_up(std::span<const Fed> fed);
  void grow();
  bool add_token(const Growing& g);
  void pass();

  Instance& instance_;
  const std::vector<Token>& banned_;
  std::vector<Growing> growing_;
  std::vector<Token> tokens_;  // of a pass
  std::vector<SequenceSlice> slices_;
  std::vector<GivenRow> given_;
};

}  // namespace minke
