#pragma once
// Keeps an answer to a grammar of calls, token by token.

#include <memory>
#include <vector>

#include "text/call_grammar.h"
#include "text/token_mask.h"
#include "text/token_trie.h"

namespace minke {

// One answer's. Where tokens become scarce only those are left that bring the call to its end in time, if it
// can be done: with CallGrammar::least(start) + 1 tokens it can, and the call that comes out is whole
// whatever the model would rather say.
class CallMask : public TokenMask {
 public:
  // `ends`: the tokens that end an answer, at least one, else throws Error.
  CallMask(const Tokenizer& tokenizer, std::shared_ptr<const TokenTable> table,
           std::shared_ptr<const CallGrammar> grammar, std::vector<Token> ends);

  void mask(std::span<float> logits, int left) override;
  void take(Token token) override;
  bool done() const { return ended_ || grammar_->done(state_); }

 private:
  struct Choice;
  bool read(CallGrammar::State& state, Token token) const;
  void choose(Choice& choice) const;

  const Tokenizer& tokenizer_;
  std::shared_ptr<const TokenTable> table_;
  std::shared_ptr<const CallGrammar> grammar_;
  std::vector<Token> ends_, markers_;
  CallGrammar::State state_;
  bool ended_ = false;
  std::vector<uint8_t> allowed_;  // [token]
};

}  // namespace minke
