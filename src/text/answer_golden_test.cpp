// Answers of the published formats: what DeepSeek's own parser makes of them, and calls that a model's chat
// template has rendered, taken apart again.

#include <gtest/gtest.h>

#include "text/answer_test.h"
#include "text/chat.h"
#include "text/deepseek_v32_text.h"
#include "text/golden_tokenizers.h"

namespace minke {
namespace {

Json golden(const std::string& path) { return parse_json(read_file(kGolden / "chat" / path)); }

std::vector<std::string> kinds_of_calls = {"get_weather", "add"};

// Where this parser differs from DeepSeek's, which does not look at JSON, and is used on answers that have
// ended, with their end token.
constexpr std::string_view kStricter[] = {"JSON value is not checked", "empty values"};
constexpr std::string_view kLenient[] = {"error: no end token",         "error: text after the end token",
                                         "error: reasoning not closed", "error: call inside reasoning",
                                         "error: text after the block", "error: think tag in content"};

TEST(AnswerGolden, DeepSeekV32) {
  const AnswerFormat format = answer_format(CallSyntax::deepseek_v32, false);
  size_t differing = 0;
  const Json cases = golden("deepseek_v3.2_native/parse_cases.json");
  for (const Json& one : cases.at("cases").as_array()) {
    const std::string& name = one.at("name").as_string();
    std::string text = one.at("text").as_string();
    if (const size_t end = text.find(deepseek_v32::kEos); end != text.npos) text.resize(end);
    const AnswerOptions options{.tools = kinds_of_calls,
                                .in_reasoning = one.at("thinking_mode").as_string() == "thinking"};
    const Parsed parsed = parse_whole(format, options, text);
    EXPECT_EQ(complaint(parsed, options, text), "") << name;
    const bool stricter = std::ranges::count(kStricter, name) > 0;
    if (std::ranges::count(kLenient, name) > 0) {
      EXPECT_EQ(parsed.answer.fault, "") << name;
      ++differing;
      continue;
    }
    if (one.find("error") || stricter) {
      EXPECT_NE(parsed.answer.fault, "") << name;
      differing += stricter;
      continue;
    }
    EXPECT_EQ(parsed.answer.fault, "") << name;
    EXPECT_EQ(parsed.answer.content, one.at("content").as_string()) << name;
    EXPECT_EQ(parsed.answer.reasoning, one.at("reasoning_content").as_string()) << name;
    std::vector<ToolCall> calls;
    for (const Json& call : one.at("tool_calls").as_array())
      calls.push_back(
          {call.at("function").at("name").as_string(), call.at("function").at("arguments").as_string()});
    EXPECT_TRUE(parsed.answer.calls == calls) << name;
  }
  EXPECT_EQ(differing, std::size(kStricter) + std::size(kLenient));
}

// ---- round trips

struct Model {
  const char* name;       // of the folder with its template; or a built-in format
  const char* tokenizer;  // golden
  CallSyntax syntax;
  const char* answer;  // what stands before an answer,
  const char* end;     // and behind it
  bool content;        // beside calls
};

constexpr Model kModels[] = {
    {"deepseek_v3", "deepseek_v3", CallSyntax::deepseek_v3, "<｜Assistant｜>", "<｜end▁of▁sentence｜>",
     false},
    {"deepseek_v3.1", "deepseek_v3", CallSyntax::deepseek_v31, "<｜Assistant｜>", "<｜end▁of▁sentence｜>",
     true},
    {"deepseek_v3.2", "deepseek_v3", CallSyntax::deepseek_v32, "<｜Assistant｜></think>",
     "<｜end▁of▁sentence｜>", true},
    {"deepseek_r1_distill_qwen", "qwen2", CallSyntax::deepseek_v3, "<｜Assistant｜>", "<｜end▁of▁sentence｜>",
     false},
    {"qwen2.5_coder", "qwen2", CallSyntax::qwen25_coder, "<|im_start|>assistant\n", "<|im_end|>\n", true},
    {"qwen3", "qwen2", CallSyntax::hermes, "<|im_start|>assistant\n", "<|im_end|>\n", true},
    {"built-in deepseek-v3", "deepseek_v3", CallSyntax::deepseek_v3, "<｜Assistant｜>",
     "<｜end▁of▁sentence｜>", true},
    {"built-in deepseek-r1", "deepseek_v3", CallSyntax::deepseek_v3, "<｜Assistant｜>",
     "<｜end▁of▁sentence｜>", true},
    {"built-in deepseek-v3.1", "deepseek_v3", CallSyntax::deepseek_v31, "<｜Assistant｜></think>",
     "<｜end▁of▁sentence｜>", true},
    {"built-in deepseek-v3.2", "deepseek_v3", CallSyntax::deepseek_v32, "<｜Assistant｜></think>",
     "<｜end▁of▁sentence｜>", true},
};

ChatFormat chat_of(const Model& model) {
  const SpecialTokens tokens{"", "<｜end▁of▁sentence｜>", ""};
  const std::string_view name = model.name;
  if (name.starts_with("built-in ")) return ChatFormat::built_in(name.substr(9), tokens);
  return ChatFormat::from_template(read_file(kGolden / "chat" / name / "template.jinja"), tokens);
}

Json call(const char* name, const Json& arguments) {
  return JsonObject{{"id", "c1"},
                    {"type", "function"},
                    {"function", Json(JsonObject{{"name", name}, {"arguments", arguments}})}};
}

// The answer as the engine gives it: token by token, with what each one wrote.
Parsed parse_tokens(const AnswerFormat& format, const AnswerOptions& options, const Tokenizer& tokenizer,
                    const std::string& text) {
  AnswerParser parser(format, options);
  std::vector<Token> kept;
  for (const std::string& marker : format.markers()) kept.push_back(*tokenizer.find(marker));
  Detokenizer detokenizer(tokenizer, true, kept);
  Parsed parsed;
  for (const Token token : tokenizer.encode(text)) {
    const std::string part = detokenizer.push(token);
    std::vector<TextRun> added;
    if (tokenizer.is_added(token) && !part.empty()) added.push_back({0, part.size()});
    join(parsed.events, parser.feed(part, added));
  }
  join(parsed.events, parser.finish());
  parsed.answer = parser.answer();
  return parsed;
}

void expect_round_trip(const Model& model, const std::string& content, const JsonArray& calls) {
  const ChatFormat chat = chat_of(model);
  const Tokenizer& tokenizer = *golden_tokenizer(model.tokenizer);
  const AnswerFormat format = AnswerFormat::of(chat, [&](std::string_view text) {
    const auto token = tokenizer.find(text);
    return token && tokenizer.is_added(*token);
  });
  EXPECT_EQ(name(format.calls), std::string(name(model.syntax))) << model.name;
  ChatPrompt prompt;
  prompt.add_generation_prompt = false;
  prompt.messages =
      JsonArray{JsonObject{{"role", "user"}, {"content", "Zürich <tool_call> <｜tool▁calls▁begin｜>"}},
                JsonObject{{"role", "assistant"}, {"content", content}, {"tool_calls", calls}}};
  if (content.empty()) prompt.messages.as_array()[1].set("content", nullptr);
  std::string text = plain(chat.render(prompt));
  text = text.substr(text.rfind(model.answer) + std::string_view(model.answer).size());
  if (text.ends_with(model.end)) text.resize(text.size() - std::string_view(model.end).size());
  const AnswerOptions options{.tools = kinds_of_calls};
  const Parsed parsed = parse_tokens(format, options, tokenizer, text);
  EXPECT_EQ(complaint(parsed, options, text), "") << model.name;
  EXPECT_EQ(parsed.answer.fault, "") << model.name << ": " << text;
  EXPECT_EQ(parsed.answer.content, content) << model.name << ": " << text;
  ASSERT_EQ(parsed.answer.calls.size(), calls.size()) << model.name << ": " << text;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Json& function = calls[i].at("function");
    EXPECT_EQ(parsed.answer.calls[i].name, function.at("name").as_string()) << model.name;
    EXPECT_TRUE(parse_json(parsed.answer.calls[i].arguments) == function.at("arguments"))
        << model.name << ": " << parsed.answer.calls[i].arguments;
  }
}

TEST(AnswerGolden, WhatTemplatesRenderComesBack) {
  const Json nested = parse_json(
      R"({"city": "Zürich \"👋\"\n</tool_call> ```", "days": 3, "deep": {"x": [1, 2.5, null, true]}})");
  const Json one = call("get_weather", nested), two = call("add", parse_json(R"({"a": 1, "b": -2})")),
             none = call("add", JsonObject{});
  for (const Model& model : kModels)
    for (const std::string content : {"", "Looking."}) {
      if (!content.empty() && !model.content) continue;
      expect_round_trip(model, content, {one});
      expect_round_trip(model, content, {one, two});
      expect_round_trip(model, content, {none});
      // V3's own template ends the block behind each call but the first, and shows no text beside them.
      if (model.content) expect_round_trip(model, content, {none, one, two});
    }
}

// ---- telling formats

TEST(AnswerFormat, IsToldByTheTemplate) {
  const auto syntax = [](const std::string& source, const std::string& model = "") {
    return AnswerFormat::of(ChatFormat::from_template(source, {}), {}, model).calls;
  };
  EXPECT_EQ(syntax("{{ messages[0].content }}"), CallSyntax::none);
  EXPECT_EQ(syntax("<|start_header_id|>"), CallSyntax::llama3);
  EXPECT_EQ(syntax("<|header_start|>"), CallSyntax::llama4);
  EXPECT_EQ(syntax("<tool_call>"), CallSyntax::hermes);
  EXPECT_EQ(syntax("<tool_call>", "Qwen2.5 Coder 0.5B Instruct AWQ"), CallSyntax::qwen25_coder);
  EXPECT_EQ(syntax("<tool_call>", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"), CallSyntax::qwen25_coder);
  EXPECT_EQ(syntax("<tool_call>", "Qwen3-Coder"), CallSyntax::hermes);
  EXPECT_EQ(syntax("<tool_call><function="), CallSyntax::none);
  EXPECT_EQ(syntax(read_file(kGolden / "chat/smollm2/template.jinja")), CallSyntax::none);
}

TEST(AnswerFormat, NamesOfTools) {
  EXPECT_TRUE(tool_names(Json()).empty());
  const Json tools = parse_json(R"([{"type": "function", "function": {"name": "a"}}])");
  EXPECT_EQ(tool_names(tools), std::vector<std::string>{"a"});
  EXPECT_THROW(tool_names(parse_json(R"([{"type": "function", "function": {}}])")), Error);
}

}  // namespace
}  // namespace minke
