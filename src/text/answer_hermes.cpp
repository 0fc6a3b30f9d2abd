// Hermes, Qwen: <tool_call>{"name": ..., "arguments": {...}}</tool_call>. And how Qwen2.5-Coder really calls:
// with nothing but one ```json fence around the same object.

#include "text/answer_json.h"
#include "text/answer_machine.h"
#include "text/answer_texts.h"

namespace minke {
namespace {

constexpr std::string_view kArguments[] = {"arguments"};

class ToolCallReader : public CallReader {
 public:
  ToolCallReader(const AnswerFormat& format, AnswerOutput& out, Marker opening)
      : CallReader(out, std::move(opening), true), end_({format.marker(answer_texts::kToolCallClose)}) {}

 private:
  Reading read(char c, bool added) override {
    if (!begun_ && is_json_space(c)) return Reading::on;
    begun_ = true;
    return whole_ ? read_end(c, added) : read_object(c);
  }

  Reading read_object(char c) {
    switch (object_.step(c)) {
      case CallObject::Status::broken: return fail("a call is not {\"name\": ..., \"arguments\": {...}}");
      case CallObject::Status::whole: whole_ = true; break;
      case CallObject::Status::on: break;
    }
    if (!out_.in_call() && object_.has_name() && (object_.has_arguments() || !out_.offers(object_.name())))
      if (const Reading begun = begin_call(object_.name()); begun != Reading::on) return begun;
    if (out_.in_call()) out_.arguments(object_.take_arguments());
    return Reading::on;
  }

  Reading read_end(char c, bool added) {
    if (!end_.begun() && is_json_space(c)) return Reading::on;
    const int found = end_.step(c, added);
    if (found == Choice::kNone) return fail("text behind a call, before its end");
    if (found == Choice::kOpen) return Reading::on;
    end_call();
    return Reading::done;
  }

  // Small models forget the end.
  Reading finish() override {
    if (!whole_ || end_.begun()) return cut_off();
    end_call();
    return Reading::done;
  }

  CallObject object_{kArguments};
  Choice end_;
  bool begun_ = false, whole_ = false;
};

// Such a fence may as well be an example in an explanation. That it is not shows at the answer's end, so
// nothing comes out before.
class FenceReader : public CallReader {
 public:
  FenceReader(AnswerOutput& out, Marker opening)
      : CallReader(out, std::move(opening), false),
        end_({Marker{std::string(answer_texts::kFenceEnd),
                     std::string(answer_texts::kFenceEnd.size(), '\0')}}) {}

 private:
  enum class State { before, object, behind, end };

  Reading read(char c, bool added) override {
    if (added) return Reading::text;
    if (state_ != State::object && !end_.begun() && is_json_space(c)) return Reading::on;
    if (state_ == State::end) return is_json_space(c) ? Reading::on : Reading::text;
    if (state_ == State::behind) {
      const int found = end_.step(c, added);
      if (found == Choice::kNone) return Reading::text;
      if (found >= 0) state_ = State::end;
      return Reading::on;
    }
    state_ = State::object;
    const CallObject::Status status = object_.step(c);
    if (status == CallObject::Status::broken) return Reading::text;
    if (status == CallObject::Status::whole) state_ = State::behind;
    return Reading::on;
  }

  Reading finish() override {
    if (state_ != State::end || !out_.offers(object_.name())) return Reading::text;
    begin_call(object_.name());
    out_.arguments(object_.take_arguments());
    end_call();
    return Reading::done;
  }

  CallObject object_{kArguments};
  Choice end_;
  State state_ = State::before;
};

}  // namespace

std::unique_ptr<CallReader> read_tool_call(const AnswerFormat& format, AnswerOutput& out, Marker opening) {
  return std::make_unique<ToolCallReader>(format, out, std::move(opening));
}

std::unique_ptr<CallReader> read_fence(AnswerOutput& out, Marker opening) {
  return std::make_unique<FenceReader>(out, std::move(opening));
}

}  // namespace minke
