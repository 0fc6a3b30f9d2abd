#include "text/call_grammar.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/random.h"
#include "text/answer_test.h"
#include "text/call_mask.h"
#include "text/small_tokenizer.h"

namespace minke {
namespace {

constexpr CallSyntax kAll[] = {CallSyntax::deepseek_v3, CallSyntax::deepseek_v31, CallSyntax::deepseek_v32,
                               CallSyntax::hermes,      CallSyntax::qwen25_coder, CallSyntax::llama3,
                               CallSyntax::llama4};

const Json kTools = parse_json(R"([
  {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {
     "a": {"type": "number"}, "text": {"type": "string"}, "any": {}}}}},
  {"type": "function", "function": {"name": "add_all"}}])");

bool takes(const CallGrammar& grammar, const MarkedText& text) {
  CallGrammar::State state = grammar.start();
  auto run = text.added.begin();
  for (size_t i = 0; i < text.text.size(); ++i) {
    while (run != text.added.end() && run->end <= i) ++run;
    if (!grammar.step(state, text.text[i], run != text.added.end() && run->begin <= i)) return false;
  }
  return grammar.done(state);
}

bool takes(CallSyntax syntax, std::string_view text, const CallRules& rules = {.tools = kTools}) {
  const AnswerFormat format = answer_format(syntax);
  return takes(CallGrammar(format, rules), marked(format, text));
}

TEST(CallGrammar, TakesACallAndNothingElse) {
  const CallSyntax hermes = CallSyntax::hermes;
  const std::string one =
      "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": [1, \"}\"]}}\n</tool_call>";
  EXPECT_TRUE(takes(hermes, one));
  EXPECT_TRUE(takes(hermes, "<think>why not {</think>" + one));
  EXPECT_TRUE(
      takes(hermes, "<tool_call>\n{\"name\": \"add_all\", \"arguments\": {\n  \"a\": 1}}\n</tool_call>"));
  EXPECT_FALSE(takes(hermes, ""));
  EXPECT_FALSE(takes(hermes, "<tool_call>\n{\"name\": \"sub\", \"arguments\": {}}\n</tool_call>"));
  EXPECT_FALSE(takes(hermes, "<tool_call>\n{\"name\": \"add\", \"arguments\": []}\n</tool_call>"));
  EXPECT_FALSE(takes(hermes, "<tool_call>\n{\"name\": \"add\", \"arguments\": {a}}\n</tool_call>"));
  EXPECT_FALSE(takes(hermes, "So: " + one));
  EXPECT_FALSE(takes(hermes, one + "."));
  EXPECT_FALSE(takes(hermes, one.substr(0, one.size() - 12)));
  EXPECT_FALSE(takes(hermes, one + "\n" + one));
  EXPECT_TRUE(takes(hermes, one + "\n" + one, {.tools = kTools, .several = true}));
  EXPECT_TRUE(takes(hermes, "Hm.</think>\n\n" + one, {.tools = kTools, .in_reasoning = true}));
  EXPECT_FALSE(takes(hermes, one, {.tools = kTools, .in_reasoning = true}));
  const std::string spaces(33, ' ');
  EXPECT_FALSE(
      takes(hermes, "<tool_call>\n{\"name\": \"add\", \"arguments\": {" + spaces + "}}\n</tool_call>"));
}

TEST(CallGrammar, AMarkerIsItsToken) {
  const AnswerFormat format = answer_format(CallSyntax::hermes);
  const CallGrammar grammar(format, {.tools = kTools});
  const std::string text = "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>";
  EXPECT_TRUE(takes(grammar, marked(format, text)));
  EXPECT_FALSE(takes(grammar, {text, {}}));
  EXPECT_FALSE(takes(grammar, {text, {{0, text.size()}}}));
}

TEST(CallGrammar, EveryFormat) {
  const std::string begin = "<｜tool▁calls▁begin｜>", call = "<｜tool▁call▁begin｜>", sep = "<｜tool▁sep｜>",
                    ce = "<｜tool▁call▁end｜>", end = "<｜tool▁calls▁end｜>";
  const CallRules several{.tools = kTools, .several = true};
  const std::string v3 = call + "function" + sep + "add\n```json\n{}\n```" + ce;
  EXPECT_TRUE(takes(CallSyntax::deepseek_v3, begin + v3 + end));
  EXPECT_TRUE(takes(CallSyntax::deepseek_v3, begin + v3 + "\n" + v3 + end, several));
  EXPECT_TRUE(takes(CallSyntax::deepseek_v31, begin + call + "add_all" + sep + "{}" + ce + end));
  EXPECT_TRUE(takes(CallSyntax::llama3, "{\"name\": \"add\", \"parameters\": {}}"));
  EXPECT_TRUE(takes(CallSyntax::llama4,
                    "{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"add\", \"parameters\": {}}",
                    several));
  const auto v32 = [&](const std::string& parameters) {
    return takes(CallSyntax::deepseek_v32, "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"add\">\n" +
                                               parameters + "</｜DSML｜invoke>\n</｜DSML｜function_calls>");
  };
  const auto parameter = [](const char* key, const char* flag, const char* value) {
    return fmt::format("<｜DSML｜parameter name=\"{}\" string=\"{}\">{}</｜DSML｜parameter>\n", key, flag,
                       value);
  };
  EXPECT_TRUE(v32(""));
  EXPECT_TRUE(v32(parameter("text", "true", "a <b> </｜DSML｜par </</｜DSML｜para") +
                  parameter("a", "false", "-1.5")));
  EXPECT_TRUE(v32(parameter("any", "false", "{\"x\": 1}")));
  EXPECT_TRUE(v32(parameter("any", "true", "")));
  EXPECT_FALSE(v32(parameter("a", "false", "1") + parameter("a", "false", "1")));
  EXPECT_FALSE(v32(parameter("any", "true", "1") + parameter("any", "false", "1")));
  EXPECT_FALSE(v32(parameter("a", "true", "1")));
  EXPECT_FALSE(v32(parameter("b", "true", "1")));
  EXPECT_FALSE(v32(parameter("a", "false", "-")));
}

TEST(CallGrammar, NeedsToolsAndAFormatForThem) {
  EXPECT_THROW(CallGrammar(answer_format(CallSyntax::hermes), {}), Error);
  EXPECT_THROW(CallGrammar(answer_format(CallSyntax::none), {.tools = kTools}), Error);
  JsonArray many;
  const auto tool = [](std::string name) {
    return Json(JsonObject{{"type", "function"}, {"function", Json(JsonObject{{"name", std::move(name)}})}});
  };
  for (int i = 0; i < 4096; ++i) many.push_back(tool(fmt::format("tool{}", i)));
  EXPECT_TRUE(takes(CallSyntax::llama3, "{\"name\": \"tool4095\", \"parameters\": {}}", {.tools = many}));
  many.push_back(tool("one"));
  EXPECT_THROW(CallGrammar(answer_format(CallSyntax::hermes), {.tools = many}), Error);
  const CallRules long_name{.tools = JsonArray{tool(std::string(70'000, 'a'))}};
  EXPECT_THROW(CallGrammar(answer_format(CallSyntax::hermes), long_name), Error);
}

// ---- over a vocabulary

// The small tokenizer with the markers of all formats.
const Tokenizer& tokenizer() {
  static const Tokenizer made = [] {
    Json json = small_tokenizer();
    JsonArray& added = json.find("added_tokens")->as_array();
    int64_t id = added.back().at("id").as_int();
    std::vector<std::string> texts;
    for (const CallSyntax syntax : kAll)
      for (const std::string& text : answer_format(syntax).markers())
        if (text != "<think>" && std::ranges::count(texts, text) == 0) texts.push_back(text);
    for (const std::string& text : texts)
      added.push_back(
          JsonObject{{"id", ++id}, {"content", text}, {"special", text.find("python") != text.npos}});
    Json& vocab = *json.find("model")->find("vocab");
    for (const char* text :
         {"{\"", "\":", "\",", "Ġ\"", "\"}", "}}", "},", "</", "ab\"", "a\\", "ĊĊ", "ĠĠĠĠĠĠĠĠ"})
      vocab.set(text, ++id);
    return Tokenizer::from_json(to_string(json), "test");
  }();
  return made;
}

AnswerFormat real_format(CallSyntax syntax) {
  AnswerFormat format;
  format.calls = syntax;
  format.thinks = true;
  format.has_token = [](std::string_view text) {
    const auto token = tokenizer().find(text);
    return token && tokenizer().is_added(*token);
  };
  return format;
}

std::shared_ptr<const TokenTable> table() {
  static const auto made = std::make_shared<const TokenTable>(tokenizer());
  return made;
}

// Which tokens may come, the slow way.
std::vector<bool> allowed_plainly(const CallGrammar& grammar, const CallGrammar::State& at) {
  std::vector<bool> allowed;
  for (Token t = 0; t < tokenizer().size(); ++t) {
    CallGrammar::State state = at;
    bool fits = !tokenizer().bytes(t).empty();
    for (const char c : tokenizer().bytes(t)) fits = fits && grammar.step(state, c, tokenizer().is_added(t));
    if (tokenizer().is_special(t) && std::ranges::count(grammar.markers(), tokenizer().bytes(t)) == 0)
      fits = false;
    allowed.push_back(fits);
  }
  return allowed;
}

struct Drawn {
  std::vector<Token> tokens;
  MarkedText text;
  bool whole = false;
};

// An answer of a model that draws any token alike, but for those it likes.
Drawn draw(std::shared_ptr<const CallGrammar> grammar, Random random, int most, std::string_view liked,
           bool check) {
  const Token end = *tokenizer().find("<eos>");
  CallMask mask(tokenizer(), table(), grammar, {end});
  CallGrammar::State state = grammar->start();
  Drawn drawn;
  Detokenizer detokenizer(tokenizer());
  for (int left = most; left > (check ? most - 60 : 0); --left) {
    std::vector<float> logits(static_cast<size_t>(tokenizer().size()), 0);
    mask.mask(logits, left);
    if (check) {
      const auto plainly = allowed_plainly(*grammar, state);
      for (size_t t = 0; t < logits.size(); ++t)
        RC_ASSERT((logits[t] == 0) == (plainly[t] || (static_cast<Token>(t) == end && grammar->done(state))));
    }
    std::vector<Token> can, likes;
    for (Token t = 0; t < tokenizer().size(); ++t) {
      if (logits[static_cast<size_t>(t)] != 0) continue;
      can.push_back(t);
      if (tokenizer().bytes(t).find_first_of(liked) != std::string_view::npos) likes.push_back(t);
    }
    RC_ASSERT(!can.empty());
    const auto& from = !likes.empty() && random.uniform() < 0.5 ? likes : can;
    const Token token = from[static_cast<size_t>(random.uniform() * static_cast<double>(from.size()))];
    mask.take(token);
    if (token == end) {
      drawn.whole = true;
      break;
    }
    const std::string text = detokenizer.push(token);
    for (const char c : tokenizer().bytes(token))
      RC_ASSERT(grammar->step(state, c, tokenizer().is_added(token)));
    drawn.tokens.push_back(token);
    drawn.text.text += text;
    if (tokenizer().is_added(token)) {
      const size_t n = drawn.text.text.size();
      drawn.text.added.push_back({n - tokenizer().bytes(token).size(), n});
    }
  }
  return drawn;
}

class CallMasks : public testing::TestWithParam<CallSyntax> {};

TEST_P(CallMasks, WhateverIsDrawnIsAWholeCall) {
  EXPECT_TRUE(rc::check([] {
    const AnswerFormat format = real_format(GetParam());
    const CallRules rules{
        .tools = kTools, .several = *rc::gen::arbitrary<bool>(), .in_reasoning = *rc::gen::arbitrary<bool>()};
    const auto grammar = std::make_shared<const CallGrammar>(format, rules);
    const int least = grammar->least(grammar->start());
    const int most = least + 1 + *rc::gen::element(0, 1, 5, 60);
    const auto liked = *rc::gen::element<std::string_view>("", "\"", "{[", "\\u", "</｜", " ", "1e,");
    const Drawn drawn = draw(grammar, Random(*rc::gen::arbitrary<uint64_t>(), 0), most, liked, false);
    RC_LOG() << drawn.text.text;
    RC_ASSERT(drawn.whole);
    const AnswerOptions options{.tools = tool_names(kTools), .in_reasoning = rules.in_reasoning};
    const Parsed parsed = parse_in_parts(format, options, drawn.text, {});
    RC_ASSERT(complaint(parsed, options, drawn.text.text) == "");
    RC_ASSERT(parsed.answer.fault == "");
    RC_ASSERT(parsed.answer.content == "");
    RC_ASSERT(!parsed.answer.calls.empty());
    if (!rules.several) RC_ASSERT(parsed.answer.calls.size() == 1u);
  }));
}

TEST_P(CallMasks, TheFastWayAllowsTheSameTokens) {
  EXPECT_TRUE(rc::check([] {
    const CallRules rules{.tools = kTools, .in_reasoning = *rc::gen::inRange(0, 4) == 0};
    const auto grammar = std::make_shared<const CallGrammar>(real_format(GetParam()), rules);
    const auto liked = *rc::gen::element<std::string_view>("\"", "{[", "\\u", "</｜", "1e,");
    draw(grammar, Random(*rc::gen::arbitrary<uint64_t>(), 0), 100'000, liked, true);
  }));
}

INSTANTIATE_TEST_SUITE_P(All, CallMasks, testing::ValuesIn(kAll), [](const auto& one) {
  std::string text = name(one.param);
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
});

TEST(CallMask, TooFewTokensAreUsedAsWellAsCanBe) {
  const auto grammar =
      std::make_shared<const CallGrammar>(real_format(CallSyntax::llama3), CallRules{.tools = kTools});
  const Drawn drawn = draw(grammar, Random(1, 0), 5, "", false);
  EXPECT_FALSE(drawn.whole);
  EXPECT_EQ(drawn.text.text.substr(0, 3), "{\"n");
}

TEST(CallMask, NeedsAnEndToken) {
  const auto grammar =
      std::make_shared<const CallGrammar>(real_format(CallSyntax::hermes), CallRules{.tools = kTools});
  EXPECT_THROW(CallMask(tokenizer(), table(), grammar, {}), Error);
}

}  // namespace
}  // namespace minke
