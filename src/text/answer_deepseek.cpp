// DeepSeek V3 and R1, V3.1 (MODEL.md 5.3): a block of calls, each between tokens of its own.
//
//   V3     BEGIN call_begin function sep NAME \n ```json \n ARGUMENTS \n ``` call_end \n call_begin ... END
//   V3.1   BEGIN call_begin NAME sep ARGUMENTS call_end call_begin ... END
//
// V3's published template leaves END out behind a single call, so models may, too.

#include "text/answer_machine.h"
#include "text/answer_texts.h"
#include "text/json_checker.h"

namespace minke {
namespace {

using namespace answer_texts;

class DeepSeekReader : public CallReader {
 public:
  DeepSeekReader(const AnswerFormat& format, AnswerOutput& out, Marker opening)
      : CallReader(out, std::move(opening), true),
        fenced_(format.calls == CallSyntax::deepseek_v3),
        next_({format.marker(kCallBegin), format.marker(kCallsEnd)}),
        sep_({format.marker(kSep)}),
        fence_({format.marker(kFence)}),
        fence_end_({format.marker(kFenceEnd)}),
        end_({format.marker(kCallEnd)}) {}

 private:
  enum class State {
    next,       // call or the block's end
    first,      // what stands before sep: V3's type, V3.1's name
    name,       // V3's, up to its fence
    arguments,  //
    fence_end,  //
    end,        // of the call
  };

  Reading read(char c, bool added) override {
    switch (state_) {
      case State::next: return next(c, added);
      case State::first: return first(c, added);
      case State::name: return name(c, added);
      case State::arguments: return arguments(c);
      case State::fence_end: return expect(fence_end_, c, added, State::end);
      case State::end: return end(c, added);
    }
    return Reading::broken;
  }

  Reading finish() override {
    return any_whole() && state_ == State::next && !next_.begun() ? Reading::done : cut_off();
  }

  Reading next(char c, bool added) {
    if (!next_.begun() && is_json_space(c)) return Reading::on;
    const int found = next_.step(c, added);
    if (found == Choice::kOpen) return Reading::on;
    if (found == Choice::kNone) return fail("text inside of a block of calls");
    if (found == 1) return Reading::done;
    text_.clear();
    state_ = State::first;
    return Reading::on;
  }

  Reading first(char c, bool added) {
    if (sep_.step(c, added, text_) < 0) return Reading::on;
    const std::string text(trimmed(text_));
    text_.clear();
    if (!fenced_) return begin_arguments(text);
    if (text != "function") return fail("a call is of another type than function");
    state_ = State::name;
    return Reading::on;
  }

  Reading name(char c, bool added) {
    if (fence_.step(c, added, text_) < 0) return Reading::on;
    return begin_arguments(std::string(trimmed(text_)));
  }

  Reading begin_arguments(std::string name) {
    if (!out_.offers(name)) return begin_call(name);  // which fails
    name_ = std::move(name);
    checker_ = JsonChecker(true);
    state_ = State::arguments;
    return Reading::on;
  }

  Reading arguments(char c) {
    if (!out_.in_call() && is_json_space(c)) return Reading::on;
    if (!checker_.step(c)) return fail("arguments of a call are not a JSON object");
    if (!out_.in_call()) begin_call(name_);
    if (!checker_.complete())
      out_.arguments({&c, 1});
    else
      state_ = fenced_ ? State::fence_end : State::end;
    return Reading::on;
  }

  Reading expect(Choice& what, char c, bool added, State then) {
    if (!what.begun() && is_json_space(c)) return Reading::on;
    const int found = what.step(c, added);
    if (found == Choice::kNone) return fail("text between the arguments of a call and its end");
    if (found >= 0) {
      what.reset();
      state_ = then;
    }
    return Reading::on;
  }

  Reading end(char c, bool added) {
    const Reading reading = expect(end_, c, added, State::next);
    if (state_ != State::next) return reading;
    next_.reset();
    end_call();
    return Reading::on;
  }

  bool fenced_;
  Choice next_;
  Finder sep_, fence_;
  Choice fence_end_, end_;
  State state_ = State::next;
  std::string text_, name_;
  JsonChecker checker_;
};

}  // namespace

std::unique_ptr<CallReader> read_deepseek(const AnswerFormat& format, AnswerOutput& out, Marker opening) {
  return std::make_unique<DeepSeekReader>(format, out, std::move(opening));
}

}  // namespace minke
