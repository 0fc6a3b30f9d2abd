// room: api
// Any body of a request is refused with an Error that is fit to print, or is read, and then any answer to it
// is written as JSON, streamed and whole.

#include <string>
#include <string_view>

#include "api/anthropic.h"
#include "api/openai.h"
#include "api/responses.h"
#include "base/error.h"
#include "text/utf8.h"

namespace {

using namespace minke;

const ModelCard kCard{"m", {}, 0, 512};

template <typename F>
void attempt(F f) {
  try {
    f();
  } catch (const Error& error) {
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
    parse_json(to_string(openai_fault(invalid(error))));
    parse_json(to_string(anthropic_fault(invalid(error), "id")));
  }
}

// Each event is a name, perhaps, and JSON on one line.
void check_events(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find("\n\n");
    MINKE_CHECK(end != text.npos);
    std::string_view event = text.substr(0, end);
    text.remove_prefix(end + 2);
    if (event.starts_with("event: ")) event.remove_prefix(event.find('\n') + 1);
    MINKE_CHECK(event.starts_with("data: ") && event.find('\n') == event.npos);
    event.remove_prefix(6);
    if (event != "[DONE]") parse_json(event);
  }
}

// An answer that has everything, its texts from the fuzzer.
void write(Exchange& exchange, const std::string& text) {
  using Part = AnswerEvent::Kind;
  using Kind = CompletionEvent::Kind;
  const CompletionRequest& request = exchange.request;
  MINKE_CHECK(request.choices() >= 1 && request.choices() <= kMostChoices);
  MINKE_CHECK(request.max_tokens == -1 || request.max_tokens > 0);
  MINKE_CHECK(request.stop.size() <= kMostStops);
  AnswerWriter& writer = *exchange.writer;
  check_events(writer.begin());
  for (int choice = 0; choice < request.choices(); ++choice) {
    for (const AnswerEvent& part :
         {AnswerEvent{Part::reasoning, 0, text}, AnswerEvent{Part::content, 0, text},
          AnswerEvent{Part::call, 0, text}, AnswerEvent{Part::arguments, 0, "{}"},
          AnswerEvent{Part::call_end, 0, ""}, AnswerEvent{Part::call, 1, "f"},
          AnswerEvent{Part::call_broken, 1, ""}, AnswerEvent{Part::content, 0, text}})
      check_events(writer.event({.kind = Kind::part,
                                 .choice = choice,
                                 .parts = {part},
                                 .logprobs = {{text.substr(0, 1), -1, {{text, -2}}}}}));
    check_events(writer.event({.kind = Kind::end, .choice = choice, .reason = EndReason::calls}));
  }
  check_events(writer.event({.kind = Kind::done, .usage = {3, 1, 2}}));
  parse_json(to_string(writer.whole()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const std::string text = mend_utf8(body.substr(0, 50));
  attempt([&] {
    const Json json = parse_json(body);
    for (const auto read : {read_chat, read_text, read_messages})
      attempt([&] {
        Exchange exchange = read(json, kCard);
        write(exchange, text);
      });
    attempt([&] {
      const auto earlier = [](const std::string&) { return Json(JsonArray{}); };
      ResponsesExchange made = read_responses(json, kCard, earlier);
      write(made.exchange, text);
      parse_json(to_string(made.message()));
    });
    attempt([&] {
      std::string model;
      read_count(json, model);
    });
  });
  return 0;
}
