// room: text
// Whatever is written that a grammar of calls allows, the parser of answers makes whole calls of it; and from
// everywhere the way to an end is as long as the grammar says. The first byte chooses the format, the second
// the rules; then the tools' and parameters' names, a line each, and what is written.

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/answer_test.h"
#include "text/call_grammar.h"
#include "text/utf8.h"

namespace {

using namespace minke;

constexpr CallSyntax kSyntaxes[] = {
    CallSyntax::deepseek_v3,  CallSyntax::deepseek_v31, CallSyntax::deepseek_v32, CallSyntax::hermes,
    CallSyntax::qwen25_coder, CallSyntax::llama3,       CallSyntax::llama4};

std::string take_name(std::string_view& text) {
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  std::string name = "t";
  for (const char c : line.substr(0, 60)) name += kLetters[static_cast<unsigned char>(c) % kLetters.size()];
  return name;
}

Json take_tools(std::string_view& text) {
  JsonArray tools;
  for (int i = 0; i < 2; ++i) {
    const std::string name = take_name(text), parameter = take_name(text);
    Json type(JsonObject{});
    if (i == 0) type.set("type", parameter.size() % 2 == 0 ? "string" : "number");
    const Json properties(JsonObject{{parameter, type}, {"any", Json(JsonObject{})}});
    const Json schema(JsonObject{{"type", "object"}, {"properties", properties}});
    const Json function(JsonObject{{"name", name}, {"parameters", schema}});
    tools.push_back(JsonObject{{"type", "function"}, {"function", function}});
  }
  return tools;
}

// Writes the byte, or the next one that is allowed.
void write(const CallGrammar& grammar, CallGrammar::State& state, unsigned char wanted, std::string& text) {
  for (int i = 0; i < 256; ++i) {
    const char c = static_cast<char>(wanted + i);
    CallGrammar::State next = state;
    if (!grammar.step(next, c, false)) continue;
    state = next;
    text += c;
    return;
  }
  MINKE_CHECK(grammar.done(state));
}

void write_the_rest(const CallGrammar& grammar, CallGrammar::State& state, std::string& text) {
  for (int least = grammar.least(state); least > 0; --least) {
    bool found = false;
    for (int c = 0; c < 256 && !found; ++c) {
      CallGrammar::State next = state;
      found = grammar.step(next, static_cast<char>(c), false) && grammar.least(next) < least;
      if (!found) continue;
      MINKE_CHECK(grammar.least(next) == least - 1);
      state = next;
      text += static_cast<char>(c);
    }
    MINKE_CHECK(found);
  }
  MINKE_CHECK(grammar.done(state));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const AnswerFormat format = answer_format(kSyntaxes[data[0] % std::size(kSyntaxes)], false);
  CallRules rules;
  rules.several = (data[1] & 1) != 0;
  rules.in_reasoning = (data[1] & 2) != 0;
  rules.tools = take_tools(rest);
  const CallGrammar grammar(format, rules);
  CallGrammar::State state = grammar.start();
  std::string text;
  for (const char c : rest.substr(0, 2000)) write(grammar, state, static_cast<unsigned char>(c), text);
  write_the_rest(grammar, state, text);
  text = mend_utf8(text);
  const AnswerOptions options{.tools = tool_names(rules.tools), .in_reasoning = rules.in_reasoning};
  const Parsed parsed = parse_whole(format, options, text);
  MINKE_CHECK(complaint(parsed, options, text).empty());
  MINKE_CHECK(parsed.answer.fault.empty() && parsed.answer.content.empty() && !parsed.answer.calls.empty());
  MINKE_CHECK(rules.several || parsed.answer.calls.size() == 1);
  return 0;
}
