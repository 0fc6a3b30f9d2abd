#include "text/call_mask.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace minke {
// The tokens that may come, and how they were found.
struct CallMask::Choice {
  std::vector<uint8_t>& allowed;
  int left;  // behind the one that is chosen
  bool any = false;
  int nearest = std::numeric_limits<int>::max();  // to the end, of all
  std::vector<Token> nearest_tokens = {};

  void add(Token token) {
    allowed[static_cast<size_t>(token)] = 1;
    any = true;
  }
  // `least`: the tokens that the answer needs behind it.
  void consider(Token token, int least) {
    if (least <= left) return add(token);
    if (least > nearest) return;
    if (least < nearest) nearest_tokens.clear();
    nearest = least;
    nearest_tokens.push_back(token);
  }
};

CallMask::CallMask(const Tokenizer& tokenizer, std::shared_ptr<const TokenTable> table,
                   std::shared_ptr<const CallGrammar> grammar, std::vector<Token> ends)
    : tokenizer_(tokenizer),
      table_(std::move(table)),
      grammar_(std::move(grammar)),
      ends_(std::move(ends)),
      state_(grammar_->start()) {
  if (ends_.empty()) throw Error("the model has no token that ends an answer", "tool_choice");
  for (const std::string& text : grammar_->markers()) {
    const auto token = tokenizer.find(text);
    if (token && std::ranges::count(markers_, *token) == 0) markers_.push_back(*token);
  }
}

bool CallMask::read(CallGrammar::State& state, Token token) const {
  const bool added = tokenizer_.is_added(token);
  for (const char c : tokenizer_.bytes(token))
    if (!grammar_->step(state, c, added)) return false;
  return true;
}

void CallMask::choose(Choice& choice) const {
  using State = CallGrammar::State;
  const auto is_end = [&](Token token) { return std::ranges::count(ends_, token) > 0; };
  const auto needed = [&](const State& state) { return grammar_->least(state) + 1; };  // the end token, too
  const auto take = [&](Token token, const State& state) {
    if (!is_end(token)) choice.consider(token, needed(state));
  };
  const auto step = [&](State& state, char c) { return grammar_->step(state, c, false); };
  if (grammar_->done(state_))
    for (const Token end : ends_)
      if (static_cast<size_t>(end) < choice.allowed.size()) choice.add(end);

  const CallGrammar::Plain plain = grammar_->plain(state_);
  if (plain == CallGrammar::Plain::none) {
    table_->all.walk(state_, step, take);
  } else {
    const TokenTable::Part& part =
        plain == CallGrammar::Plain::in_json_string ? table_->json_string : table_->free_text;
    State after = state_;
    grammar_->step(after, 'x', false);  // as plain as any
    const int all_need = needed(after);
    for (Token t = 0; t < table_->size; ++t)
      if (part.plain[static_cast<size_t>(t)] != 0 && !is_end(t)) choice.consider(t, all_need);
    part.others.walk(state_, step, take);
  }
  const auto read_added = [&](const std::vector<Token>& tokens) {
    for (const Token token : tokens)
      if (State state = state_; read(state, token)) take(token, state);
  };
  read_added(markers_);
  if (grammar_->in_reasoning(state_)) read_added(table_->added);
}

void CallMask::mask(std::span<float> logits, int left) {
  if (ended_) return;
  allowed_.assign(std::max(logits.size(), static_cast<size_t>(table_->size)), 0);
  Choice choice{allowed_, left - 1};
  choose(choice);
  if (!choice.any)
    for (const Token token : choice.nearest_tokens) choice.add(token);
  if (!choice.any) throw Error("no token of the vocabulary can go on with a call of a tool", "tool_choice");
  for (size_t i = 0; i < logits.size(); ++i)
    if (allowed_[i] == 0) logits[i] = -std::numeric_limits<float>::infinity();
}

void CallMask::take(Token token) {
  if (ended_ || std::ranges::count(ends_, token) > 0) {
    ended_ = true;
    return;
  }
  if (!read(state_, token)) throw Error("a token came that no call of a tool has there", "tool_choice");
}

}  // namespace minke
