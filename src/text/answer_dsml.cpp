// DeepSeek-V3.2's calls (MODEL.md 5.3): markup with a parameter at a time, its value raw text or JSON. As
// strict as the published parser, which deepseek_v32_parse.cpp is, and stricter in that JSON must be JSON.

#include <set>

#include <fmt/format.h>

#include "text/answer_machine.h"
#include "text/answer_texts.h"
#include "text/json_checker.h"
#include "text/python_json.h"

namespace minke {
namespace {

using namespace answer_texts;

class DsmlReader : public CallReader {
 public:
  DsmlReader(const AnswerFormat& format, AnswerOutput& out, Marker opening)
      : CallReader(out, std::move(opening), true), format_(format) {}

 private:
  enum class State {
    block_start,
    next,        // a call or the block's end
    call_space,  // before a call's attribute
    call_attribute,
    call_name,
    next_parameter,  // or the call's end
    attribute,       // of the parameter
    name,
    kind,
    text,
    json,
    parameter_end,
    call_end,
  };

  // Goes on to a state that reads one of some fixed texts, or text up to one.
  Reading enter(State state) {
    const auto markers = [&](std::initializer_list<std::string_view> texts) {
      std::vector<Marker> result;
      for (const std::string_view text : texts) result.push_back(format_.marker(text));
      return result;
    };
    text_.clear();
    state_ = state;
    switch (state) {
      case State::block_start: choice_ = Choice(markers({">\n"})); break;
      case State::next: choice_ = Choice(markers({kInvoke, kBlockClose})); break;
      case State::call_space: break;
      case State::call_attribute: choice_ = Choice(markers({"name=\""})); break;
      case State::call_name: finder_ = Finder(markers({"\">\n"})); break;
      case State::next_parameter: choice_ = Choice(markers({kParameter, kInvokeClose})); break;
      case State::attribute: choice_ = Choice(markers({" name=\""})); break;
      case State::name: finder_ = Finder(markers({"\" string=\""})); break;
      case State::kind: choice_ = Choice(markers({"true\">", "false\">"})); break;
      case State::text:
      case State::json:
        finder_ = Finder(markers({kParameterClose}));
        json_ = JsonChecker(false, JsonChecker::kMaxDepth - 1);
        break;
      case State::parameter_end:
      case State::call_end: choice_ = Choice(markers({">\n"})); break;
    }
    return Reading::on;
  }

  Reading read(char c, bool added) override {
    switch (state_) {
      case State::call_space:
        if (c == ' ' || c == '\n') return Reading::on;
        enter(State::call_attribute);
        return fixed(c, added);
      case State::next_parameter:
        // The published encoder leaves a blank line where there are none, so models may, too.
        if (c == '\n' && names_.empty() && !choice_.begun()) return Reading::on;
        return fixed(c, added);
      case State::call_name:
      case State::name: return up_to(c, added);
      case State::text:
      case State::json: return value(c, added);
      default: return fixed(c, added);
    }
  }

  Reading finish() override {
    return any_whole() && state_ == State::next && !choice_.begun() ? Reading::done : cut_off();
  }

  Reading fixed(char c, bool added) {
    const int found = choice_.step(c, added);
    if (found == Choice::kNone) return fail("the markup of a call is not as it should be");
    if (found == Choice::kOpen) return Reading::on;
    switch (state_) {
      case State::block_start: return enter(State::next);
      case State::next: return found == 0 ? enter(State::call_space) : Reading::done;
      case State::call_attribute: return enter(State::call_name);
      case State::next_parameter: return enter(found == 0 ? State::attribute : State::call_end);
      case State::attribute: return enter(State::name);
      case State::kind:
        if (found == 0) out_.arguments("\"");
        return enter(found == 0 ? State::text : State::json);
      case State::parameter_end: return enter(State::next_parameter);
      default:  // call_end
        end_call();
        return enter(State::next);
    }
  }

  // The name of a call or parameter.
  Reading up_to(char c, bool added) {
    if (finder_.step(c, added, text_) < 0) return Reading::on;
    if (state_ == State::call_name) {
      if (const Reading begun = begin_call(text_); begun != Reading::on) return begun;
      names_.clear();
      out_.arguments("{");
      return enter(State::next_parameter);
    }
    if (!names_.insert(text_).second) return fail(fmt::format("parameter '{}' is repeated", text_));
    out_.arguments((names_.size() > 1 ? ", " : "") + python_json(Json(text_)) + ": ");
    return enter(State::kind);
  }

  Reading value(char c, bool added) {
    text_.clear();
    const bool ends = finder_.step(c, added, text_) >= 0;
    std::string written;
    for (const char v : text_) {
      if (state_ == State::text)
        append_json_escaped(written, v);
      else if (json_.step(v))
        written += v;
      else
        return fail("a parameter's value is not JSON");
    }
    if (ends && state_ == State::json && !json_.complete()) return fail("a parameter's value is not JSON");
    if (ends && state_ == State::text) written += '"';
    out_.arguments(written);
    return ends ? enter(State::parameter_end) : Reading::on;
  }

  const AnswerFormat& format_;
  State state_ = State::block_start;
  Choice choice_{{format_.marker(">\n")}};
  Finder finder_{{}};
  std::string text_;
  std::set<std::string> names_;
  JsonChecker json_;
};

}  // namespace

std::unique_ptr<CallReader> read_dsml(const AnswerFormat& format, AnswerOutput& out, Marker opening) {
  return std::make_unique<DsmlReader>(format, out, std::move(opening));
}

}  // namespace minke
