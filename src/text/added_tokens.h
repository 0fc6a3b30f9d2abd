#pragma once
// Added tokens: those that are found in the text as they are written, before it is cut into pieces.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"
#include "text/token.h"

namespace minke {

// As in a tokenizer.json.
struct AddedToken {
  Token id = 0;
  std::string text;
  bool special = false;
  bool normalized = false;              // looked for after normalisation, itself normalised
  bool lstrip = false, rstrip = false;  // takes the white space on that side with it
  bool single_word = false;             // only where no word character is on either side
};

// Finds the longest added token at each place, from left to right.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // Looks for `tokens` by their text, which must not be empty. Of those with one text the lowest id counts.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin, end;  // with stripped white space
    Token id;
  };
  // A token lies entirely in one of `runs`; what surrounds it (white space, word characters) may lie outside.
  // With skip_special, special tokens are found and passed over: what is inside them is not looked at again.
  std::vector<Match> find(std::string_view text, const std::vector<TextRun>& runs, bool skip_special) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // sorted by text
  std::array<bool, 256> first_bytes_{};
  char only_first_byte_ = 0;  // where all begin alike
  bool begin_alike_ = false;
};

}  // namespace minke
