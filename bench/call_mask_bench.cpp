// room: text
// How long a mask takes that keeps answers to calls of tools.
//
//   call_mask_bench TOKENIZER...       tokenizer.json files

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/call_mask.h"

namespace {

using namespace minke;
using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
}

struct Case {
  CallSyntax syntax;
  const char* answer;
};

constexpr Case kCases[] = {
    {CallSyntax::hermes,
     "Let me see.</think><tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": \"some text\\nand a bit\", "
     "\"b\": [12, {\"x\": -1.5}]}}\n</tool_call>"},
    {CallSyntax::deepseek_v3,
     "Let me see.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n"
     "{\"a\": \"some text\\nand a bit\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
    {CallSyntax::deepseek_v32,
     "Let me see.</think>\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"add\">\n"
     "<｜DSML｜parameter name=\"a\" string=\"true\">some text\nand a bit</｜DSML｜parameter>\n"
     "<｜DSML｜parameter name=\"b\" string=\"false\">[12, {}]</｜DSML｜parameter>\n"
     "</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
};

void measure(const Tokenizer& tokenizer, std::shared_ptr<const TokenTable> table, const Case& one) {
  AnswerFormat format;
  format.calls = one.syntax;
  format.has_token = [&](std::string_view text) {
    const auto token = tokenizer.find(text);
    return token && tokenizer.is_added(*token);
  };
  const Json tools = parse_json(R"([{"type": "function", "function": {"name": "add", "parameters": {
    "properties": {"a": {"type": "string"}, "b": {"type": "array"}}}}}])");
  const auto grammar =
      std::make_shared<const CallGrammar>(format, CallRules{.tools = tools, .in_reasoning = true});
  const std::vector<Token> tokens = tokenizer.encode(one.answer);
  std::vector<float> logits(static_cast<size_t>(tokenizer.size()));
  std::vector<double> best(tokens.size(), 1e9);
  for (int run = 0; run < 5; ++run) {
    CallMask mask(tokenizer, table, grammar, {tokenizer.end_tokens().at(0)});
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::ranges::fill(logits, 0.0f);
      const auto start = Clock::now();
      mask.mask(logits, 1000);
      best[i] = std::min(best[i], milliseconds(start));
      mask.take(tokens[i]);
    }
  }
  double sum = 0;
  for (const double time : best) sum += time;
  std::printf("  %-14s %3zu tokens, %.2f ms each, %.2f ms at most\n", name(one.syntax), tokens.size(),
              sum / static_cast<double>(best.size()), *std::ranges::max_element(best));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    for (int i = 1; i < argc; ++i) {
      const Tokenizer tokenizer = Tokenizer::from_file(argv[i]);
      const auto start = Clock::now();
      const auto table = std::make_shared<const TokenTable>(tokenizer);
      std::printf("%s: %d tokens, table in %.0f ms\n", argv[i], tokenizer.size(), milliseconds(start));
      for (const Case& one : kCases) measure(tokenizer, table, one);
    }
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
