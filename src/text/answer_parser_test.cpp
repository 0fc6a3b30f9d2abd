#include "text/answer_parser.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "text/answer_test.h"
#include "text/python_json.h"

namespace minke {
namespace {

using Kind = AnswerEvent::Kind;

const AnswerOptions kTools{.tools = {"get_weather", "add", "a.b-c"}};
const AnswerOptions kThinking{.tools = kTools.tools, .in_reasoning = true};

constexpr CallSyntax kAll[] = {CallSyntax::none,         CallSyntax::deepseek_v3, CallSyntax::deepseek_v31,
                               CallSyntax::deepseek_v32, CallSyntax::hermes,      CallSyntax::qwen25_coder,
                               CallSyntax::llama3,       CallSyntax::llama4};

ParsedAnswer parse(CallSyntax syntax, std::string_view text, const AnswerOptions& options = kTools) {
  const Parsed parsed = parse_whole(answer_format(syntax), options, text);
  EXPECT_EQ(complaint(parsed, options, text), "") << text;
  return parsed.answer;
}

void expect_calls(CallSyntax syntax, std::string_view text, const std::vector<ToolCall>& calls,
                  std::string_view content = "") {
  const ParsedAnswer answer = parse(syntax, text);
  EXPECT_EQ(answer.fault, "") << text;
  EXPECT_EQ(answer.content, content) << text;
  EXPECT_TRUE(answer.calls == calls) << text;
}

// All of it is content, and `fault` holds `why`.
void expect_broken(CallSyntax syntax, const std::string& text, std::string_view why) {
  const ParsedAnswer answer = parse(syntax, text);
  EXPECT_EQ(answer.content, text);
  EXPECT_TRUE(answer.calls.empty()) << text;
  EXPECT_NE(answer.fault.find(why), std::string::npos) << text << ": " << answer.fault;
}

void expect_text(CallSyntax syntax, const std::string& text) {
  const ParsedAnswer answer = parse(syntax, text);
  EXPECT_EQ(answer.content, text);
  EXPECT_EQ(answer.fault, "") << text;
  EXPECT_TRUE(answer.calls.empty()) << text;
}

const std::string kFaultyCut = "ends inside";

// ---- formats

TEST(AnswerParser, DeepSeekV3) {
  const CallSyntax v3 = CallSyntax::deepseek_v3;
  const std::string begin = "<｜tool▁calls▁begin｜>", end = "<｜tool▁calls▁end｜>";
  const auto call = [](std::string_view name, std::string_view arguments) {
    return fmt::format("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>",
                       name, arguments);
  };
  const std::string one = call("add", R"({"a": 1, "b": [2]})"), two = call("get_weather", "{}");
  const ToolCall add{"add", R"({"a": 1, "b": [2]})"}, weather{"get_weather", "{}"};
  expect_calls(v3, begin + one + end, {add});
  expect_calls(v3, begin + one, {add});  // as its template has it
  expect_calls(v3, begin + one + "\n" + two + end, {add, weather});
  expect_calls(v3, "Looking.\n\n" + begin + one + end + "\n", {add}, "Looking.");
  expect_calls(v3, begin + one + end + "Done.", {add}, "Done.");
  expect_broken(v3, begin + call("sub", "{}") + end, "not offered");
  expect_broken(v3, begin + call("add", "[1]") + end, "not a JSON object");
  expect_broken(v3, begin + call("add", "{\"a\": 1,}") + end, "not a JSON object");
  expect_broken(v3, begin + "<｜tool▁call▁begin｜>code<｜tool▁sep｜>add\n```json\n{}\n```<｜tool▁call▁end｜>",
                "type");
  expect_broken(v3, begin + one.substr(0, one.find("<｜tool▁call▁end｜>")), kFaultyCut);
  expect_broken(v3, "Well" + begin, kFaultyCut);
  const ParsedAnswer half = parse(v3, begin + one + "\n" + call("sub", "{}") + end);
  EXPECT_TRUE(half.calls == std::vector<ToolCall>{add});
  EXPECT_EQ(half.content, "\n" + call("sub", "{}") + end);
  EXPECT_NE(half.fault, "");
}

TEST(AnswerParser, DeepSeekV31) {
  const CallSyntax v31 = CallSyntax::deepseek_v31;
  const std::string begin = "<｜tool▁calls▁begin｜>", end = "<｜tool▁calls▁end｜>";
  const std::string one = "<｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>";
  const std::string two =
      "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Zürich\"}<｜tool▁call▁end｜>";
  const ToolCall add{"add", "{\"a\": 1}"}, weather{"get_weather", "{\"city\": \"Zürich\"}"};
  expect_calls(v31, begin + one + two + end, {add, weather});
  expect_calls(v31, "Looking." + begin + one + end, {add}, "Looking.");
  expect_broken(v31, begin + "<｜tool▁call▁begin｜>add<｜tool▁sep｜>\"{}\"<｜tool▁call▁end｜>" + end,
                "not a JSON");
  expect_broken(v31, begin + "<｜tool▁call▁begin｜>add<｜tool▁sep｜>{} and<｜tool▁call▁end｜>" + end,
                "between");
}

TEST(AnswerParser, Hermes) {
  for (const CallSyntax syntax : {CallSyntax::hermes, CallSyntax::qwen25_coder}) {
    const std::string one = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>";
    const std::string two = "<tool_call>{\"arguments\":{\"x\":{}},\"name\":\"get_weather\"}</tool_call>";
    const ToolCall add{"add", "{\"a\": 1}"}, weather{"get_weather", "{\"x\":{}}"};
    expect_calls(syntax, one, {add});
    expect_calls(syntax, one + "\n" + two + "\n", {add, weather});
    expect_calls(syntax, "I add.\n" + one, {add}, "I add.");
    expect_calls(syntax, one + " and\n" + two + "!\n", {add, weather}, " and!");
    expect_calls(syntax, one.substr(0, one.size() - 13), {add});  // without its end
    expect_calls(
        syntax, "<tool_call>{\"type\": \"function\", \"name\": \"\\u0061dd\", \"arguments\": {}}</tool_call>",
        {{"add", "{}"}});
    expect_broken(syntax, "<tool_call>{\"name\": \"sub\", \"arguments\": {}}</tool_call>", "'sub'");
    expect_broken(syntax, "<tool_call>{\"name\": \"add\", \"arguments\": \"{}\"}</tool_call>",
                  "a call is not");
    expect_broken(syntax, "<tool_call>{\"name\": \"add\"}</tool_call>", "a call is not");
    expect_broken(syntax, "<tool_call>{\"name\": \"add\", \"arguments\": {}, \"x\": 1}</tool_call>",
                  "a call is not");
    expect_broken(syntax, "<tool_call>{\"name\": \"add\", \"arguments\": {}}}</tool_call>", "text behind");
    expect_broken(syntax, "Write <tool_call> and a call.", "a call is not");
    expect_broken(syntax, "x <tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"long", kFaultyCut);
    expect_broken(syntax, "<tool_call>", kFaultyCut);
  }
}

TEST(AnswerParser, OnlyQwenCodersFenceIsACall) {
  const std::string fence = "```json\n{\n  \"name\": \"add\",\n  \"arguments\": {\n    \"a\": 1\n  }\n}\n```";
  expect_calls(CallSyntax::qwen25_coder, fence, {{"add", "{\n    \"a\": 1\n  }"}});
  expect_calls(CallSyntax::qwen25_coder, "\n" + fence + "\n", {{"add", "{\n    \"a\": 1\n  }"}});
  for (const CallSyntax syntax : kAll)
    if (syntax != CallSyntax::qwen25_coder) expect_text(syntax, fence);
  expect_text(CallSyntax::qwen25_coder, fence + "\nThis adds.");
  expect_text(CallSyntax::qwen25_coder, "Here:\n" + fence);
  expect_text(CallSyntax::qwen25_coder, "```json\n{\"name\": \"add\", \"arguments\": [1]}\n```");
  expect_text(CallSyntax::qwen25_coder, "```json\n{\"name\": \"Ann\", \"age\": 7}\n```");
  expect_text(CallSyntax::qwen25_coder, fence + "\n" + fence);
  expect_text(CallSyntax::qwen25_coder, fence.substr(0, fence.size() - 1));
  expect_text(CallSyntax::qwen25_coder, "```python\nprint()\n```");
  expect_broken(CallSyntax::qwen25_coder, "```json\n{\"name\": \"add\", \"arguments\": {\"a\": \"<tool_call>",
                kFaultyCut);
  expect_broken(CallSyntax::qwen25_coder, "```json\n{\"name\": \"sub\", \"arguments\": {}}\n```", "'sub'");
}

TEST(AnswerParser, Llama3) {
  for (const CallSyntax syntax : {CallSyntax::llama3, CallSyntax::llama4}) {
    const std::string one = "{\"name\": \"add\", \"parameters\": {\"a\": 1}}";
    const ToolCall add{"add", "{\"a\": 1}"};
    expect_calls(syntax, one, {add});
    expect_calls(syntax, "\n\n" + one + "\n", {add});
    expect_calls(syntax, one + "; " + one, {add, add});
    expect_calls(syntax, "{\"type\": \"function\", \"name\": \"add\", \"arguments\": {}}", {{"add", "{}"}});
    expect_text(syntax, "{\"a\": 1}");
    expect_text(syntax, "{\"name\": \"Ann\", \"age\": 7}");
    expect_text(syntax, "Call " + one);
    expect_text(syntax, "{");
    expect_broken(syntax, one + " adds them.", "text behind");
    expect_broken(syntax, "{\"name\": \"sub\", \"parameters\": {}}", "'sub'");
    expect_broken(syntax, "{\"name\": \"add\", \"parameters\": {}, \"x\": 1}", "");
    expect_broken(syntax, "{\"x\": 1, \"name\": \"add\", \"parameters\": {}}", "another form");
    expect_broken(syntax, one.substr(0, one.size() - 1), kFaultyCut);
  }
  const CallSyntax l3 = CallSyntax::llama3;
  expect_calls(l3, "<|python_tag|>{\"name\": \"add\", \"parameters\": {}}", {{"add", "{}"}});
  expect_calls(l3, "Well. <|python_tag|>add.call(a=1, b=\"x\")", {{"add", "{\"a\": 1, \"b\": \"x\"}"}},
               "Well.");
  expect_broken(l3, "<|python_tag|>print(1)", "code");
  expect_broken(l3, "<|python_tag|>import os", "neither");
  expect_text(l3, "[add(a=1)]");
}

TEST(AnswerParser, Llama4) {
  const CallSyntax l4 = CallSyntax::llama4;
  expect_calls(l4, "[get_weather(city=\"Oslo\", days=3), add(), a.b-c(x=[1, {'k': None}], y=True,)]",
               {{"get_weather", "{\"city\": \"Oslo\", \"days\": 3}"},
                {"add", "{}"},
                {"a.b-c", "{\"x\": [1, {\"k\": null}], \"y\": true}"}});
  expect_calls(l4, "<|python_start|>[add(a=-1.5e3)]<|python_end|>", {{"add", "{\"a\": -1.5e3}"}});
  expect_calls(l4, "Hm. <|python_start|>{\"name\": \"add\", \"parameters\": {}}<|python_end|>\n",
               {{"add", "{}"}}, "Hm.");
  expect_calls(l4, "[add(s='it\\'s \\\"x\\\"\\n\\x41\\u00e9\\U0001F44B \\q')]",
               {{"add", "{\"s\": \"it's \\\"x\\\"\\nAé👋 \\\\q\"}"}});
  expect_text(l4, "[1, 2, 3]");
  expect_text(l4, "[]");
  expect_text(l4, "[sub(a=1)]");
  expect_text(l4, "[add]");
  expect_broken(l4, "[add(1)]", "literals");
  expect_broken(l4, "[add(a=b)]", "literals");
  expect_broken(l4, "[add(a=1, a=2)]", "literals");
  expect_broken(l4, "[add(a=01)]", "literals");
  expect_broken(l4, "[add(a={1: 2})]", "literals");
  expect_broken(l4, "[add(a=\"\\ud800\")]", "literals");
  expect_broken(l4, "[add(a=1)", kFaultyCut);
  expect_broken(l4, "[add(a=1)] as you see", "text behind");
  expect_broken(l4, "[add(a=" + std::string(70, '['), "literals");
}

TEST(AnswerParser, DeepSeekV32) {
  const CallSyntax v32 = CallSyntax::deepseek_v32;
  const std::string begin = "\n\n<｜DSML｜function_calls>\n", end = "</｜DSML｜function_calls>";
  const auto call = [](std::string_view name, std::string_view parameters) {
    return fmt::format("<｜DSML｜invoke name=\"{}\">\n{}</｜DSML｜invoke>\n", name, parameters);
  };
  const auto parameter = [](std::string_view kind, std::string_view value) {
    return fmt::format("<｜DSML｜parameter name=\"p{0}\" string=\"{0}\">{1}</｜DSML｜parameter>\n", kind,
                       value);
  };
  const std::string both = parameter("true", "a \"b\"\n</｜DSML｜x") + parameter("false", "[1, {}]");
  expect_calls(v32, "4." + begin + call("add", both) + call("add", "") + end,
               {{"add", R"({"ptrue": "a \"b\"\n</｜DSML｜x", "pfalse": [1, {}]})"}, {"add", "{}"}}, "4.");
  expect_calls(v32, begin + call("add", "\n") + end, {{"add", "{}"}});  // as its encoder writes it
  expect_broken(v32, begin + call("add", both + "\n") + end, "markup");
  expect_broken(v32, begin + call("sub", both) + end, "'sub'");
  expect_broken(v32, begin + call("add", parameter("false", "oops")) + end, "not JSON");
  expect_broken(v32, begin + call("add", parameter("false", "")) + end, "not JSON");
  expect_broken(v32, begin + call("add", parameter("false", "[1")) + end, "not JSON");
  expect_broken(v32, begin + call("add", parameter("false", "1 2")) + end, "not JSON");
  expect_broken(v32, begin + call("add", both + both) + end, "repeated");
  expect_broken(v32, begin.substr(1) + call("add", both) + end, "markup of a call in the text");
  expect_broken(v32, begin + call("add", both).substr(0, 90), kFaultyCut);
  expect_broken(v32, begin, kFaultyCut);
  EXPECT_EQ(parse(v32, begin + call("add", both)).calls.size(), 1u);
  for (const size_t n : {63, 64}) {
    const std::string deep = call("add", parameter("false", std::string(n, '[') + std::string(n, ']')));
    EXPECT_EQ(parse(v32, begin + deep + end).calls.size(), n == 63 ? 1u : 0u);
  }
  EXPECT_EQ(parse(v32, " a\n</think>\n\nb ", kThinking).reasoning, " a\n");
  EXPECT_EQ(parse(v32, " a\n</think>\n\nb ", kThinking).content, "\n\nb ");
}

// ---- reasoning

TEST(AnswerParser, SplitsReasoning) {
  for (const CallSyntax syntax : kAll) {
    if (syntax == CallSyntax::deepseek_v32) continue;
    for (const auto& [text, thinking] : {std::pair{"\nHm. <think> \n</think>\n\nFour. ", true},
                                         {" <think>\nHm. <think> </think>\nFour. ", false}}) {
      const ParsedAnswer answer = parse(syntax, text, thinking ? kThinking : kTools);
      EXPECT_EQ(answer.reasoning, "Hm. <think>") << name(syntax);
      EXPECT_EQ(answer.content, "Four. ") << name(syntax);
    }
    const ParsedAnswer cut = parse(syntax, "Hm.\n</thin", kThinking);
    EXPECT_EQ(cut.reasoning, "Hm.\n</thin");
    EXPECT_EQ(cut.content, "");
    EXPECT_EQ(parse(syntax, "a <think>b</think>").content, "a <think>b</think>");
    EXPECT_EQ(parse(syntax, "</think>4.", kThinking).content, "4.");
  }
}

TEST(AnswerParser, CallsBehindReasoning) {
  const std::string call = "<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>";
  const ParsedAnswer answer = parse(CallSyntax::hermes, "First " + call + "\n</think>\n\n" + call, kThinking);
  EXPECT_EQ(answer.reasoning, "First " + call);
  EXPECT_EQ(answer.content, "");
  EXPECT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(
      parse(CallSyntax::llama3, "<think>x</think>\n{\"name\": \"add\", \"parameters\": {}}").calls.size(),
      1u);
}

TEST(AnswerParser, WithoutToolsMarkupIsText) {
  for (const CallSyntax syntax : kAll)
    for (const std::string text :
         {"<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>", "{\"name\": \"add\"}",
          "\n\n<｜DSML｜function_calls>\n", "<｜tool▁calls▁begin｜>", "[add()]"}) {
      const ParsedAnswer answer = parse(syntax, text, {});
      EXPECT_EQ(answer.content, text);
      EXPECT_EQ(answer.fault, "");
    }
}

// ---- tokens

TEST(AnswerParser, ASpelledMarkerIsTextWhereThereIsATokenForIt) {
  const std::string text = "<think>x</think><tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>";
  const AnswerFormat format = answer_format(CallSyntax::hermes),
                     no_tokens = answer_format(CallSyntax::hermes, false);
  EXPECT_EQ(parse_answer(format, kTools, text).content, text);
  EXPECT_EQ(parse_answer(no_tokens, kTools, text).calls.size(), 1u);
  EXPECT_EQ(parse_answer(no_tokens, kTools, text).reasoning, "x");
  MarkedText half = marked(format, text);
  half.added.pop_back();  // the end is only spelled
  const ParsedAnswer answer = parse_in_parts(format, kTools, half, {}).answer;
  EXPECT_EQ(answer.content, text.substr(16));
  EXPECT_NE(answer.fault, "");
}

TEST(AnswerParser, ATokenInsideOfAMarker) {
  AnswerFormat format = answer_format(CallSyntax::deepseek_v32);
  format.has_token = [](std::string_view text) { return text == "｜DSML｜"; };
  const std::string text =
      "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke "
      "name=\"add\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";
  EXPECT_EQ(format.markers(), std::vector<std::string>{"｜DSML｜"});
  EXPECT_EQ(parse_whole(format, kTools, text).answer.calls.size(), 1u);
  EXPECT_EQ(parse_answer(format, kTools, text).content, text);
}

// ---- streaming

TEST(AnswerParser, StreamsNameThenArguments) {
  AnswerParser parser(answer_format(CallSyntax::hermes, false), kTools);
  const auto feed = [&](std::string_view text) { return parser.feed(text); };
  using Events = std::vector<AnswerEvent>;
  EXPECT_EQ(feed("I look. <too"), (Events{{Kind::content, 0, "I look."}}));
  EXPECT_EQ(feed("l_call>\n{\"name\": \"get_we"), Events{});
  EXPECT_EQ(feed("ather\", \"arguments\":"), Events{});
  EXPECT_EQ(feed(" {\"city\""), (Events{{Kind::call, 0, "get_weather"}, {Kind::arguments, 0, "{\"city\""}}));
  EXPECT_EQ(feed(": \"Os"), (Events{{Kind::arguments, 0, ": \"Os"}}));
  EXPECT_EQ(feed("lo\"}"), (Events{{Kind::arguments, 0, "lo\""}}));
  EXPECT_EQ(feed("}\n</tool_call>\n"), (Events{{Kind::arguments, 0, "}"}, {Kind::call_end, 0, ""}}));
  EXPECT_EQ(feed("<tool_call>{\"name\": \"add\", \"arguments\": {}"),
            (Events{{Kind::call, 1, "add"}, {Kind::arguments, 1, "{"}}));
  EXPECT_EQ(feed("]"), (Events{{Kind::call_broken, 1, ""},
                               {Kind::content, 0, "\n<tool_call>{\"name\": \"add\", \"arguments\": {}]"}}));
  EXPECT_EQ(feed("<tool_call>"), (Events{{Kind::content, 0, "<tool_call>"}}));
  EXPECT_EQ(parser.finish(), Events{});
  EXPECT_EQ(parser.answer().calls.size(), 1u);
}

TEST(AnswerParser, HoldsNoMoreThanItMay) {
  AnswerOptions options = kTools;
  options.max_held = 100;
  const std::string spaces(200, ' ');
  AnswerParser marked_one(answer_format(CallSyntax::hermes, false), options);
  const auto events = marked_one.feed("<tool_call>" + spaces);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].text, "<tool_call>" + spaces);
  AnswerParser bare(answer_format(CallSyntax::llama3, false), options);
  EXPECT_EQ(bare.feed("{" + spaces + "x").at(0).text, "{" + spaces + "x");
  EXPECT_EQ(bare.finish().size(), 0u);
  EXPECT_EQ(bare.answer().fault, "");
}

TEST(AnswerParser, ReadsAMillionBytesOfArguments) {
  const std::string text = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"" +
                           std::string(1 << 20, 'x') + "\"}}</tool_call>";
  EXPECT_EQ(parse(CallSyntax::hermes, text).calls.size(), 1u);
}

}  // namespace
}  // namespace minke
