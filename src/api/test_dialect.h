#pragma once
// For tests: an answer as a dialect writes it, whole and in events.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/dialect.h"
#include "api/scripted_completer.h"

namespace minke {

struct SseEvent {
  std::string name;  // empty: none was given
  std::string data;
  Json json() const { return parse_json(data); }
};

inline std::vector<SseEvent> sse_events(std::string_view text) {
  std::vector<SseEvent> events;
  while (!text.empty()) {
    const size_t end = text.find("\n\n");
    EXPECT_NE(end, text.npos) << "an event without its end";
    std::string_view block = text.substr(0, end);
    text.remove_prefix(std::min(end, text.size() - 2) + 2);
    SseEvent event;
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(line.size() + 1, block.size()));
      if (line.starts_with("event: ")) event.name = line.substr(7);
      if (line.starts_with("data: ")) event.data = line.substr(6);
    }
    if (!event.data.empty()) events.push_back(std::move(event));
  }
  return events;
}

struct Written {
  Json whole;
  std::vector<SseEvent> events;
};

inline Written write(Exchange exchange, ScriptedCompleter& completer) {
  std::string text = exchange.writer->begin();
  completer.submit(exchange.request, [&](const CompletionEvent& e) { text += exchange.writer->event(e); });
  return {exchange.writer->whole(), sse_events(text)};
}

// The subject of the Error that f throws, "nothing" where it throws none.
template <typename F>
std::string subject_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.subject();
  }
  return "nothing";
}

inline const std::string kMessages = R"("messages":[{"role":"user","content":"Hi"}])";
inline const std::string kTool =
    R"({"type":"function","function":{"name":"look","parameters":{"type":"object"}}})";

// An answer that thinks, speaks, and calls twice.
inline std::vector<AnswerEvent> thinking_calls() {
  using K = AnswerEvent::Kind;
  return {{K::reasoning, 0, "Let me"}, {K::reasoning, 0, " see."},    {K::content, 0, "Looking."},
          {K::call, 0, "look"},        {K::arguments, 0, R"({"a":)"}, {K::arguments, 0, "1}"},
          {K::call_end, 0, ""},        {K::call, 1, "look"},          {K::arguments, 1, "{}"},
          {K::call_end, 1, ""}};
}

}  // namespace minke
