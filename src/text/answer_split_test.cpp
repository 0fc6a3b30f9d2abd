// However the text of an answer is cut, and however it is damaged, the same comes of it, and never half a
// call.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "text/answer_test.h"
#include "text/answer_texts.h"
#include "text/python_json.h"
#include "text/utf8.h"

namespace minke {
namespace {

using namespace answer_texts;

constexpr CallSyntax kAll[] = {CallSyntax::none,         CallSyntax::deepseek_v3, CallSyntax::deepseek_v31,
                               CallSyntax::deepseek_v32, CallSyntax::hermes,      CallSyntax::qwen25_coder,
                               CallSyntax::llama3,       CallSyntax::llama4};
const std::vector<std::string> kTools = {"get_weather", "add"};

template <typename T>
T one_of(std::initializer_list<T> values) {
  return *(values.begin() + *rc::gen::inRange<size_t>(0, values.size()));
}

std::string any_words() {
  std::string text;
  for (int i = *rc::gen::inRange(0, 6); i > 0; --i)
    text +=
        one_of<std::string_view>({"a", " ", "\n", "Zürich", "<", "{", "[", "👋", "</", "<tool", "\"", "`"});
  return text;
}

Json any_value(int depth) {
  switch (*rc::gen::inRange(0, depth > 0 ? 6 : 4)) {
    case 0: return Json(*rc::gen::inRange<int64_t>(-1000, 1000));
    case 1: return Json(any_words());
    case 2: return Json(0.5);
    case 3: return one_of<Json>({Json(), Json(true)});
    case 4: return JsonArray{any_value(depth - 1), any_value(depth - 1)};
    default: return JsonObject{{any_words(), any_value(depth - 1)}};
  }
}

Json any_arguments() {
  JsonObject arguments;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i)
    arguments.emplace_back(fmt::format("p{}", i), any_value(2));
  return arguments;
}

// Some call's text in the syntax; `first` of the answer's.
std::string call_text(CallSyntax syntax, const ToolCall& call, bool first) {
  const std::string object = fmt::format(R"({{"name": "{}", "arguments": {}}})", call.name, call.arguments);
  switch (syntax) {
    case CallSyntax::none: return "";
    case CallSyntax::deepseek_v3:
      return fmt::format("{}{}function{}{}\n```json\n{}\n```{}", first ? kCallsBegin : "\n", kCallBegin, kSep,
                         call.name, call.arguments, kCallEnd);
    case CallSyntax::deepseek_v31:
      return fmt::format("{}{}{}{}{}{}", first ? kCallsBegin : "", kCallBegin, call.name, kSep,
                         call.arguments, kCallEnd);
    case CallSyntax::deepseek_v32: {
      std::string text = first ? "\n\n<｜DSML｜function_calls>\n" : "";
      text += fmt::format("<｜DSML｜invoke name=\"{}\">\n", call.name);
      const Json arguments = parse_json(call.arguments);
      for (const auto& [name, value] : arguments.as_object())
        text += fmt::format("<｜DSML｜parameter name=\"{}\" string=\"{}\">{}</｜DSML｜parameter>\n", name,
                            value.is_string(), value.is_string() ? value.as_string() : python_json(value));
      return text + "</｜DSML｜invoke>\n";
    }
    case CallSyntax::hermes: return fmt::format("\n{}\n{}\n{}", kToolCall, object, kToolCallClose);
    case CallSyntax::qwen25_coder: return fmt::format("```json\n{}\n```", object);
    case CallSyntax::llama3: return (first ? "" : "; ") + object;
    case CallSyntax::llama4: {
      std::string text = first ? "[" : ", ";
      text += call.name + "(";
      const Json arguments = parse_json(call.arguments);
      for (const auto& [name, value] : arguments.as_object())
        text += fmt::format("{}={}, ", name, python_json(value));
      return text + ")";
    }
  }
  return "";
}

std::string behind_calls(CallSyntax syntax) {
  switch (syntax) {
    case CallSyntax::deepseek_v3:
    case CallSyntax::deepseek_v31: return std::string(kCallsEnd);
    case CallSyntax::deepseek_v32: return std::string(kBlockClose);
    case CallSyntax::llama4: return "]";
    default: return "";
  }
}

struct Answer {
  std::string text;
  std::vector<ToolCall> calls;
};

Answer any_answer(CallSyntax syntax, bool in_reasoning) {
  Answer answer;
  if (in_reasoning) answer.text = any_words() + "</think>";
  const bool alone =
      syntax == CallSyntax::qwen25_coder || syntax == CallSyntax::llama3 || syntax == CallSyntax::llama4;
  if (!alone) answer.text += any_words();
  const int calls = syntax == CallSyntax::none           ? 0
                    : syntax == CallSyntax::qwen25_coder ? 1
                                                         : *rc::gen::inRange(0, 4);
  for (int i = 0; i < calls; ++i) {
    answer.calls.push_back({kTools[*rc::gen::inRange<size_t>(0, 2)], python_json(any_arguments())});
    answer.text += call_text(syntax, answer.calls.back(), i == 0);
  }
  if (calls > 0) answer.text += behind_calls(syntax);
  return answer;
}

std::string damaged(std::string text) {
  for (int i = *rc::gen::inRange(1, 4); i > 0 && !text.empty(); --i) {
    const auto at = *rc::gen::inRange<size_t>(0, text.size());
    const auto n = *rc::gen::inRange<size_t>(0, 12);
    switch (*rc::gen::inRange(0, 5)) {
      case 0: text.resize(at); break;
      case 1: text.erase(at, n); break;
      case 2: text.insert(at, text.substr(at, n)); break;
      case 3: text[at] = one_of<char>({'{', '}', '"', '\\', ',', 'x', ' ', '\n', '<', ']', '1'}); break;
      default:
        text.insert(
            at, one_of<std::string_view>({kToolCall, kToolCallClose, kSep, kCallEnd, kCallsBegin, kThinkClose,
                                          kThinkOpen, kPythonTag, kPythonEnd, kFence, kParameterClose}));
    }
  }
  return mend_utf8(text);
}

// Perhaps with some of the markers only spelled.
MarkedText partly_marked(const AnswerFormat& format, const std::string& text) {
  MarkedText marked_text = marked(format, text);
  if (*rc::gen::inRange(0, 4) == 0)
    std::erase_if(marked_text.added, [](const TextRun&) { return *rc::gen::arbitrary<bool>(); });
  return marked_text;
}

void expect_same_in_parts(const AnswerFormat& format, const AnswerOptions& options, const std::string& text) {
  RC_LOG() << text;
  const MarkedText marked_text = partly_marked(format, text);
  const Parsed whole = parse_in_parts(format, options, marked_text, {});
  RC_ASSERT(complaint(whole, options, text) == "");
  auto cuts = *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, text.size() + 1));
  std::sort(cuts.begin(), cuts.end());
  RC_ASSERT(parse_in_parts(format, options, marked_text, cuts) == whole);
  std::vector<size_t> bytes(text.size());
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i;
  RC_ASSERT(parse_in_parts(format, options, marked_text, bytes) == whole);
}

class AnswerSplits : public testing::TestWithParam<CallSyntax> {};

TEST_P(AnswerSplits, WholeAnswers) {
  EXPECT_TRUE(rc::check([] {
    const CallSyntax syntax = GetParam();
    const AnswerFormat format = answer_format(syntax, *rc::gen::arbitrary<bool>());
    const AnswerOptions options{.tools = kTools, .in_reasoning = *rc::gen::arbitrary<bool>()};
    const Answer answer = any_answer(syntax, options.in_reasoning);
    const Parsed parsed = parse_in_parts(format, options, marked(format, answer.text), {});
    RC_TAG(answer.calls.size());
    RC_ASSERT(parsed.answer.fault == "");
    RC_ASSERT(parsed.answer.calls.size() == answer.calls.size());
    for (size_t i = 0; i < answer.calls.size(); ++i) {
      RC_ASSERT(parsed.answer.calls[i].name == answer.calls[i].name);
      RC_ASSERT(parse_json(parsed.answer.calls[i].arguments) == parse_json(answer.calls[i].arguments));
    }
    expect_same_in_parts(format, options, answer.text);
  }));
}

TEST_P(AnswerSplits, DamagedAnswers) {
  EXPECT_TRUE(rc::check([] {
    const CallSyntax syntax = GetParam();
    const AnswerFormat format = answer_format(syntax, *rc::gen::arbitrary<bool>());
    const AnswerOptions options{.tools = kTools,
                                .in_reasoning = *rc::gen::arbitrary<bool>(),
                                .max_held = *rc::gen::element<size_t>(16, 1 << 20)};
    expect_same_in_parts(format, options, damaged(any_answer(syntax, options.in_reasoning).text));
  }));
}

INSTANTIATE_TEST_SUITE_P(All, AnswerSplits, testing::ValuesIn(kAll), [](const auto& one) {
  std::string text = name(one.param);
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
});

}  // namespace
}  // namespace minke
