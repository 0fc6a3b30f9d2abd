// Llama 3 and 4. The answer is calls and nothing else, as JSON,
//
//   {"name": "get_weather", "parameters": {"city": "Oslo"}}
//
// one object or several, with a semicolon or white space between them; or, Llama 4's other way and that of
// the small 3.2, as Python writes them: [get_weather(city="Oslo"), now()]. Behind <|python_tag|> or
// <|python_start|>, which may stand anywhere, nothing but calls can follow; there Llama 3 also writes
// get_weather.call(city="Oslo"). That the answer is nothing else shows at its end, so the end of a call comes
// out when the next one begins or the answer ends.

#include "text/answer_json.h"
#include "text/answer_machine.h"
#include "text/answer_python.h"
#include "text/answer_texts.h"

namespace minke {
namespace {

constexpr std::string_view kArguments[] = {"parameters", "arguments"};
constexpr std::string_view kCall = ".call";

bool is_name(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
         c == '-';
}

class LlamaReader : public CallReader {
 public:
  LlamaReader(const AnswerFormat& format, AnswerOutput& out, Marker opening, bool marked)
      : CallReader(out, std::move(opening), marked), end_({format.marker(answer_texts::kPythonEnd)}) {
    if (!marked) begin(raw().text.back());
  }

 private:
  enum class State {
    begin,      // behind a marker
    object,     //
    next,       // an object is whole: another, or nothing
    name,       // of a call as Python writes it
    arguments,  //
    next_call,  // a comma or the list's end
    behind,     // nothing more
  };

  Reading read(char c, bool added) override {
    if (end_.begun()) return read_end(c, added);
    switch (state_) {
      case State::begin: return begin(c);
      case State::object: return object(c);
      case State::next:
        if (is_json_space(c) || c == ';') return Reading::on;
        if (c != '{') return read_end(c, added);
        end_call_before_last_byte();
        return begin(c);
      case State::name: return name(c);
      case State::arguments: return arguments(c);
      case State::next_call: return next_call(c);
      case State::behind: return is_json_space(c) ? Reading::on : read_end(c, added);
    }
    return Reading::broken;
  }

  Reading finish() override {
    if (end_.begun() || (state_ != State::next && state_ != State::behind)) return cut_off();
    if (out_.in_call()) end_call();
    return Reading::done;
  }

  Reading begin(char c) {
    if (is_json_space(c)) return Reading::on;
    if (c == '{') {
      object_ = CallObject(kArguments);
      object_.step(c);
      state_ = State::object;
      return Reading::on;
    }
    word_.clear();
    state_ = State::name;
    list_ = c == '[';
    return list_ ? Reading::on : name(c);
  }

  Reading object(char c) {
    const CallObject::Status status = object_.step(c);
    if (status == CallObject::Status::broken)
      return fail("a call is not {\"name\": ..., \"parameters\": {...}}");
    if (!out_.in_call() && object_.has_name() && (object_.has_arguments() || !out_.offers(object_.name())))
      if (const Reading begun = begin_call(object_.name()); begun != Reading::on) return begun;
    if (out_.in_call()) out_.arguments(object_.take_arguments());
    if (status == CallObject::Status::whole) state_ = State::next;
    return Reading::on;
  }

  Reading name(char c) {
    if (word_.empty() && is_json_space(c)) return Reading::on;
    if (is_name(c)) {
      word_ += c;
      return Reading::on;
    }
    if (c != '(') return fail("neither a call as JSON nor as Python");
    if (!list_) {
      if (!word_.ends_with(kCall)) return fail("code instead of a call");
      word_.resize(word_.size() - kCall.size());
    }
    if (const Reading begun = begin_call(word_); begun != Reading::on) return begun;
    python_ = PythonArguments();
    out_.arguments(python_.take());
    state_ = State::arguments;
    return Reading::on;
  }

  Reading arguments(char c) {
    const PythonArguments::Status status = python_.step(c);
    if (status == PythonArguments::Status::broken) return fail("arguments of a call are not literals");
    out_.arguments(python_.take());
    if (status == PythonArguments::Status::whole) state_ = list_ ? State::next_call : State::behind;
    return Reading::on;
  }

  Reading next_call(char c) {
    if (is_json_space(c)) return Reading::on;
    if (c == ']') {
      state_ = State::behind;
      return Reading::on;
    }
    if (c != ',') return fail("neither a further call nor the end of the list");
    end_call();
    word_.clear();
    state_ = State::name;
    return Reading::on;
  }

  Reading read_end(char c, bool added) {
    const int found = end_.step(c, added);
    if (found == Choice::kNone) return fail("text behind a call");
    if (found == Choice::kOpen) return Reading::on;
    if (out_.in_call()) end_call();
    return Reading::done;
  }

  State state_ = State::begin;
  CallObject object_{kArguments};
  PythonArguments python_;
  std::string word_;
  bool list_ = false;
  Choice end_;
};

}  // namespace

std::unique_ptr<CallReader> read_llama(const AnswerFormat& format, AnswerOutput& out, Marker opening,
                                       bool marked) {
  return std::make_unique<LlamaReader>(format, out, std::move(opening), marked);
}

}  // namespace minke
