#include "api/dialect.h"

#include <random>

#include <fmt/format.h>

namespace minke {

std::string sse(std::string_view data) { return fmt::format("data: {}\n\n", data); }

std::string sse(std::string_view event, std::string_view data) {
  return fmt::format("event: {}\ndata: {}\n\n", event, data);
}

std::string new_id(std::string_view prefix) {
  static constexpr std::string_view kLetters =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  thread_local std::random_device device;
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kLetters[device() % kLetters.size()];
  return id;
}

void CollectedChoice::add(const AnswerEvent& part, std::string_view id_prefix) {
  switch (part.kind) {
    case AnswerEvent::Kind::reasoning: reasoning += part.text; break;
    case AnswerEvent::Kind::content: content += part.text; break;
    case AnswerEvent::Kind::call: calls.push_back({new_id(id_prefix), part.text, {}, false}); break;
    case AnswerEvent::Kind::arguments: calls.back().arguments += part.text; break;
    case AnswerEvent::Kind::call_end: calls.back().whole = true; break;
    case AnswerEvent::Kind::call_broken: calls.pop_back(); break;
  }
}

void CollectedChoice::end(const CompletionEvent& event) {
  reason = event.reason;
  stop = event.stop;
  malformed_call = event.malformed_call;
}

}  // namespace minke
