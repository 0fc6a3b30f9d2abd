#include "text/answer_parser.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "text/answer_machine.h"
#include "text/answer_texts.h"

namespace minke {
namespace {

using namespace answer_texts;

constexpr std::string_view kSpace = " \n\t\r";

}  // namespace

struct AnswerParser::Impl {
  enum class Mode {
    start,      // of the answer, or of its content
    reasoning,  //
    text,       //
    call,       //
    rest,       // behind a call that broke: text, whatever it says
  };

  Impl(const AnswerFormat& f, AnswerOptions o)
      : format(f),
        max_held(o.max_held),
        trims(f.calls != CallSyntax::deepseek_v32),
        calls(!o.tools.empty()),
        out(std::move(o.tools)) {
    if (calls) openings = call_openings(format.calls);
    begin(o.in_reasoning ? Mode::reasoning : Mode::start);
  }

  // ---- modes

  void begin(Mode next) {
    mode = next;
    if (next == Mode::start) starts = Choice(start_markers());
    if (next == Mode::reasoning) {
      finder = Finder({format.marker(kThinkClose)});
      skip_space = trims;
    }
    if (next == Mode::text) finder = Finder(openings_anywhere());
  }

  std::vector<Marker> start_markers() {
    std::vector<Marker> markers;
    at_start.clear();
    for (size_t i = 0; i < openings.size(); ++i) {
      if (!openings[i].at_start) continue;
      markers.push_back(format.marker(openings[i].text));
      at_start.push_back(i);
    }
    if (format.thinks && !reasoned) markers.push_back(format.marker(kThinkOpen));
    return markers;
  }

  std::vector<Marker> openings_anywhere() {
    std::vector<Marker> markers;
    anywhere.clear();
    for (size_t i = 0; i < openings.size(); ++i) {
      if (openings[i].at_start) continue;
      markers.push_back(format.marker(openings[i].text));
      anywhere.push_back(i);
    }
    return markers;
  }

  void step(char c, bool added) {
    switch (mode) {
      case Mode::start: return start(c, added);
      case Mode::reasoning: return reason(c, added);
      case Mode::text: return text(c, added);
      case Mode::call: return call(c, added);
      case Mode::rest: return out.content({&c, 1});
    }
  }

  void start(char c, bool added) {
    append(held, c, added);
    if (!starts.begun() && is_json_space(c) && held.text.size() < max_held) return;
    const int found = starts.step(c, added);
    if (found == Choice::kOpen) return;
    if (found == Choice::kNone) return read_as_text(std::exchange(held, {}));
    if (static_cast<size_t>(found) == at_start.size()) {  // <think>
      held = {};
      reasoned = true;
      return begin(Mode::reasoning);
    }
    open(at_start[static_cast<size_t>(found)], std::exchange(held, {}));
  }

  void read_as_text(const Marker& read) {
    begin(Mode::text);
    for (size_t i = 0; i < read.text.size(); ++i) step(read.text[i], read.added[i] != 0);
  }

  void reason(char c, bool added) {
    passed.clear();
    const int found = finder.step(c, added, passed);
    give(passed, [&](std::string_view part) { out.reasoning(part); });
    if (found < 0) return;
    space = {};
    reasoned = true;
    skip_space = trims;
    begin(Mode::start);
  }

  void text(char c, bool added) {
    passed.clear();
    const int found = finder.step(c, added, passed);
    give(passed, [&](std::string_view part) { out.content(part); });
    if (found < 0) return;
    Marker opening{space, std::string(space.size(), '\0')};
    const Marker marker = format.marker(openings[anywhere[static_cast<size_t>(found)]].text);
    opening.text += marker.text;
    opening.added += marker.added;
    space.clear();
    open(anywhere[static_cast<size_t>(found)], std::move(opening));
  }

  // Hands text on, but for the white space it ends in, which may have to go.
  template <typename F>
  void give(std::string_view part, F to) {
    if (!trims) return to(part);
    while (skip_space && !part.empty() && is_json_space(part.front())) part.remove_prefix(1);
    if (part.empty()) return;
    skip_space = false;
    const size_t end = part.find_last_not_of(kSpace) + 1;
    if (end > 0) to(std::exchange(space, {}) + std::string(part.substr(0, end)));
    space += part.substr(end);
  }

  void open(size_t which, Marker opening) {
    mode = Mode::call;
    reader = make_call_reader(format, which, out, std::move(opening));
  }

  void call(char c, bool added) {
    Reading reading = reader->step(c, added);
    if (reading == Reading::on && !out.in_call() && reader->raw().text.size() > max_held)
      reading = reader->give_up();
    settle(reading);
  }

  void settle(Reading reading) {
    switch (reading) {
      case Reading::on: return;
      case Reading::done:
        trims = true;  // white space behind calls is no text
        return begin(Mode::text);
      case Reading::text: {
        const Marker raw = reader->raw();
        return read_as_text(raw);
      }
      case Reading::broken:
        out.break_call();
        out.content(reader->raw().text);
        out.fail(reader->fault());
        return begin(Mode::rest);
    }
  }

  // ---- the end

  void finish() {
    if (mode == Mode::start) read_as_text(std::exchange(held, {}));
    while (mode == Mode::call) settle(reader->finish());  // what turns out to be text may open a call
    if (mode == Mode::reasoning) {
      const std::string rest = finder.take_held();
      give(rest, [&](std::string_view part) { out.reasoning(part); });
    }
    if (mode == Mode::text) {
      const std::string rest = finder.take_held();
      give(rest, [&](std::string_view part) { out.content(part); });
      if (out.answer().calls.empty()) out.content(space);
    }
    space.clear();
    if (calls && out.answer().fault.empty()) look_for_faults();
  }

  void look_for_faults() {
    const ParsedAnswer& answer = out.answer();
    if (format.calls == CallSyntax::deepseek_v32 && answer.content.find(kDsml) != std::string::npos)
      return out.fail("markup of a call in the text");
    const bool unmarked = std::ranges::any_of(openings, [](const CallOpening& o) { return !o.marked; });
    if (answer.calls.empty() && unmarked) look_for_call(answer.content);
  }

  // Of an answer that is a JSON object and reads like a call somebody should know, though it is none.
  void look_for_call(std::string_view text) {
    text = trimmed(text);
    if (format.calls == CallSyntax::qwen25_coder && text.starts_with(kFence) && text.ends_with(kFenceEnd)) {
      text.remove_prefix(kFence.size());
      text = trimmed(text.substr(0, text.rfind(kFenceEnd)));
    }
    if (!text.starts_with('{') || !text.ends_with('}') || text.size() > max_held) return;
    try {
      const Json json = parse_json(text);
      const Json *name = json.find("name"), *arguments = json.find("arguments");
      if (!arguments) arguments = json.find("parameters");
      if (!name || !name->is_string() || !arguments || !arguments->is_object()) return;
      out.fail(out.offers(name->as_string())
                   ? fmt::format("'{}' was called in another form than this model's", name->as_string())
                   : not_offered(name->as_string()));
    } catch (const Error&) {
      // No call then.
    }
  }

  AnswerFormat format;
  size_t max_held;
  bool trims;  // white space between the parts is nobody's
  bool calls;  // are looked for
  AnswerOutput out;
  std::vector<CallOpening> openings;

  Mode mode = Mode::start;
  Choice starts{{}};
  std::vector<size_t> at_start, anywhere;  // [marker of starts, of finder] its opening
  Finder finder{{}};
  std::unique_ptr<CallReader> reader;
  Marker held;         // in start: all that was read
  std::string space;   // behind what was given
  std::string passed;  // for a step
  bool reasoned = false;
  bool skip_space = false;  // that comes first
};

AnswerParser::AnswerParser(const AnswerFormat& format, AnswerOptions options)
    : impl_(std::make_unique<Impl>(format, std::move(options))) {}
AnswerParser::AnswerParser(AnswerParser&&) noexcept = default;
AnswerParser& AnswerParser::operator=(AnswerParser&&) noexcept = default;
AnswerParser::~AnswerParser() = default;

std::vector<AnswerEvent> AnswerParser::feed(std::string_view text, std::span<const TextRun> added) {
  auto run = added.begin();
  for (size_t i = 0; i < text.size(); ++i) {
    while (run != added.end() && run->end <= i) ++run;
    impl_->step(text[i], run != added.end() && run->begin <= i);
  }
  return impl_->out.take();
}

std::vector<AnswerEvent> AnswerParser::finish() {
  impl_->finish();
  return impl_->out.take();
}

bool AnswerParser::in_reasoning() const { return impl_->mode == Impl::Mode::reasoning; }
const ParsedAnswer& AnswerParser::answer() const { return impl_->out.answer(); }

ParsedAnswer parse_answer(const AnswerFormat& format, AnswerOptions options, std::string_view text,
                          std::span<const TextRun> added) {
  AnswerParser parser(format, std::move(options));
  parser.feed(text, added);
  parser.finish();
  return parser.answer();
}

}  // namespace minke
