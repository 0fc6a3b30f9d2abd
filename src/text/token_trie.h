#pragma once
// The ordinary tokens of a vocabulary by their bytes, for asking which of them a state machine would take.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace minke {

// Some tokens, those that begin alike together.
class TokenTrie {
 public:
  // [token] its bytes; empty ones are left out.
  explicit TokenTrie(std::vector<std::pair<std::string_view, Token>> tokens);

  int longest() const { return longest_; }  // bytes of a token

  // Calls take(token, state) for each token all of whose bytes step(state, byte) takes, from `start` on. What
  // begins with bytes that it does not take is not looked at.
  template <typename State, typename Step, typename Take>
  void walk(const State& start, Step step, Take take) const {
    std::vector<State> states(static_cast<size_t>(longest_) + 1, start);  // [bytes read]
    for (size_t i = 0; i < nodes_.size();) {
      const Node& node = nodes_[i];
      State& state = states[node.depth];
      state = states[node.depth - 1u];
      if (!step(state, static_cast<char>(node.byte))) {
        i = node.end;
        continue;
      }
      for (uint32_t t = node.first; t < node.last; ++t) take(tokens_[t], state);
      ++i;
    }
  }

 private:
  struct Node {
    uint32_t end;          // the first node that does not begin like this one
    uint32_t first, last;  // its tokens
    uint16_t depth;        // bytes up to here
    uint8_t byte;
  };
  std::vector<Node> nodes_;    // depth first
  std::vector<Token> tokens_;  // in the order of their bytes
  int longest_ = 0;
};

// A vocabulary as constraints need it: made once for a tokenizer, then shared.
struct TokenTable {
  explicit TokenTable(const Tokenizer& tokenizer);

  // Tokens that certain states take without a change, and the others.
  struct Part {
    std::vector<uint8_t> plain;  // [token]
    TokenTrie others;
  };

  int size;
  std::vector<Token> added;  // that are not special
  TokenTrie all;
  Part json_string;  // plain: no quote, backslash or control character
  Part free_text;    // plain: no '<'
};

}  // namespace minke
