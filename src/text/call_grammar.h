#pragma once
// What an answer can be that has to call a tool (tool_choice "required" or a named one): the call's opening,
// one of the tools, arguments that are a JSON object, and the call's end. Where the model reasons, reasoning
// may come before.

#include <cstdint>
#include <string>
#include <vector>

#include "text/answer_format.h"
#include "text/json_checker.h"

namespace minke {

struct CallRules {
  Json tools;                 // OpenAI's array: those of which one has to be called
  bool several = false;       // further calls may follow the first
  bool in_reasoning = false;  // the prompt ended inside of reasoning
};

// Immutable; any thread may use it.
class CallGrammar {
 public:
  // Where an answer is. A few words that are copied freely.
  struct State {
    uint16_t element = 0;
    uint16_t position = 0;         // bytes of a fixed text read
    uint16_t first = 0, last = 0;  // the alternatives that fit so far
    uint8_t spaces = 0;            // between the parts of the JSON, in a row
    uint64_t used = 0;             // parameters that were given
    JsonChecker json;
  };

  // Throws Error where there is no tool, or thousands, or the format has no calls, and as check_tools does.
  CallGrammar(const AnswerFormat& format, const CallRules& rules);

  State start() const;
  // False where the byte, written by an added token or not, cannot come; the state is then of no more use.
  bool step(State& state, char c, bool added) const;
  bool done(const State& state) const;  // the answer may end here
  // Tokens that surely suffice to get the answer done: one for each byte, and one for each added token.
  int least(const State& state) const;

  // Where many tokens change nothing.
  enum class Plain {
    none,
    in_json_string,  // those without a quote, a backslash and control characters
    in_free_text,    // those without '<', where none of its end was read
  };
  Plain plain(const State& state) const;
  bool in_reasoning(const State& state) const;
  const std::vector<std::string>& markers() const { return markers_; }  // the added tokens that take part

 private:
  friend class CallGrammarBuilder;

  struct Alternative {
    Marker text;
    std::vector<int> cost;  // [position] tokens that surely suffice for what is left of it
    uint16_t next = 0;
    int parameter = kNone;  // which it gives
  };
  enum class Kind : uint8_t { choice, object, value, reasoning, free_text };
  struct Element {
    Kind kind = Kind::choice;
    std::vector<Alternative> alternatives;  // of a choice: sorted, none begins with another; of others: none,
    Alternative until;                      // of free text: what ends it
    std::vector<uint16_t> fallback;         // [position] bytes of it that still fit where the next does not
    uint16_t next = 0;                      // of JSON
    bool may_end = false;                   // the answer, before it
    int rest = 0;                           // `least` at its start
  };
  static constexpr int kNone = -1, kFirst = -2;  // kFirst: no parameter was given yet

  void enter(State& state, uint16_t element) const;
  bool step_choice(State& state, char c, bool added) const;
  bool step_json(State& state, char c) const;
  bool step_free(State& state, char c, bool added) const;
  static bool usable(const State& state, const Alternative& alternative) {
    return alternative.parameter < 0 || (state.used >> alternative.parameter & 1) == 0;
  }

  std::vector<Element> elements_;
  std::vector<std::string> markers_;
};

}  // namespace minke
