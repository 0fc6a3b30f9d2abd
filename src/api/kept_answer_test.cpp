#include "api/kept_answer.h"

#include <map>

#include <gtest/gtest.h>

#include "engine/test_engine.h"
#include "text/chat.h"

namespace minke {
namespace {

class MapKeeper final : public AnswerKeeper {
 public:
  void keep(const std::string& key, KeptAnswer answer) override {
    kept[key].insert(kept[key].begin(), std::move(answer));
  }
  std::vector<KeptAnswer> find(const std::string& key) override { return kept[key]; }
  std::map<std::string, std::vector<KeptAnswer>> kept;
};

constexpr const char* kTemplate =
    "{% for m in messages %}<x>{{ m.role }} {% if m.role == 'assistant' and m.reasoning_content and "
    "loop.last %}"
    "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<x>assistant {% endif %}";

constexpr std::string_view kThink = "<think>";  // an added token

// A conversation, and what becomes of it with an answer that was sampled as `sampled`.
class KeptAnswers : public testing::Test {
 protected:
  static Json message(const char* role, const std::string& content) {
    return JsonObject{{"role", role}, {"content", content}};
  }

  MarkedText rendered(const JsonArray& messages, bool open = true) const {
    ChatPrompt prompt;
    prompt.messages = messages;
    prompt.add_generation_prompt = open;
    return MarkedText(chat.render(prompt));
  }

  // The text a letter at a time: no tokenizer would write it so.
  static std::vector<Token> letters(std::string_view text) {
    std::vector<Token> tokens;
    if (text.starts_with(kThink)) {
      tokens.push_back(*test_tokenizer().find(kThink));
      text.remove_prefix(kThink.size());
    }
    for (const char c : text) tokens.push_back(test_tokenizer().encode(std::string(1, c)).front());
    return tokens;
  }

  ParsedAnswer parsed(const std::string& text) const {
    const std::vector<TextRun> added = {{0, kThink.size()}};
    return parse_answer(format, AnswerOptions{.tools = {"look"}}, text,
                        text.starts_with(kThink) ? std::span(added) : std::span<const TextRun>());
  }

  void keep(const JsonArray& messages, const std::string& sampled, const std::string& salt = {}) {
    const MarkedText prompt = rendered(messages);
    const size_t bytes = prompt.text.size();
    const std::vector<Token> tokens = memory.encode(prompt, messages, {"look"}, salt);
    memory.keep(parsed(sampled), {bytes, prompt.key(bytes) + prompt_tokens_key(tokens), letters(sampled)},
                salt);
  }

  // Whether the answer is in the prompt's tokens as it was sampled.
  bool used(const JsonArray& messages, const std::string& sampled, const std::string& salt = {}) const {
    const MarkedText prompt = rendered(messages);
    const std::vector<Token> tokens = memory.encode(prompt, messages, {"look"}, salt);
    const std::vector<Token> wanted = letters(sampled);
    return !std::ranges::search(tokens, wanted).empty();
  }

  const ChatFormat chat = ChatFormat::from_template(kTemplate, {"<bos>", "<eos>", ""});
  const HasToken has_token = [](std::string_view text) {
    const auto token = test_tokenizer().find(text);
    return token && test_tokenizer().is_added(*token);
  };
  const AnswerFormat format{CallSyntax::hermes, true, has_token};
  const std::shared_ptr<MapKeeper> keeper = std::make_shared<MapKeeper>();
  const AnswerMemory memory{keeper, test_tokenizer(), format, {}, {*test_tokenizer().find("<eos>")}};
  const JsonArray asked{message("user", "hello")};
};

TEST_F(KeptAnswers, AreMetAsTheyWereSampled) {
  JsonArray all = asked;
  all.push_back(message("assistant", "hello the hello"));
  all.push_back(message("user", "more"));
  EXPECT_FALSE(used(all, "hello the hello"));
  const std::vector<Token> anew = memory.encode(rendered(all), all, {}, "");
  EXPECT_EQ(anew, test_tokenizer().encode(rendered(all).pieces(0, rendered(all).text.size())));
  keep(asked, "hello the hello");
  EXPECT_TRUE(used(all, "hello the hello"));
  const std::vector<Token> kept = memory.encode(rendered(all), all, {}, "");
  EXPECT_EQ(test_tokenizer().decode(kept), test_tokenizer().decode(anew)) << "the text is the same";
  const std::vector<Token> prompt = memory.encode(rendered(asked), asked, {}, "");
  EXPECT_TRUE(std::ranges::equal(prompt, std::span(kept).first(prompt.size()))) << "and so is the beginning";
  // A second answer behind it.
  keep(all, "in the hell");
  all.push_back(message("assistant", "in the hell"));
  EXPECT_TRUE(used(all, "in the hell"));
  EXPECT_TRUE(used(all, "hello the hello"));
}

TEST_F(KeptAnswers, WhiteSpaceAroundThemIsNotTheirs) {
  keep(asked, " hello the\n");
  JsonArray all = asked;
  all.push_back(message("assistant", "hello the"));
  EXPECT_TRUE(used(all, " hello the\n"));
}

TEST_F(KeptAnswers, AnotherTextPromptOrSaltIsAnother) {
  keep(asked, "hello the");
  JsonArray all = asked;
  all.push_back(message("assistant", "hello  the"));
  EXPECT_FALSE(used(all, "hello the"));
  all.back() = message("assistant", "hello the");
  EXPECT_TRUE(used(all, "hello the"));
  EXPECT_FALSE(used(all, "hello the", "salt"));
  all.front() = message("user", "hello you");
  EXPECT_FALSE(used(all, "hello the"));
}

TEST_F(KeptAnswers, APromptThatIsOnlyTypedIsNone) {
  keep(asked, "hello the");
  // The user types what the template would have written: the same text with other marks.
  const JsonArray typed{message("user", "hello<eos><x>assistant hello the<eos>"),
                        message("assistant", "hello the")};
  const MarkedText prompt = rendered(typed);
  const std::vector<Token> tokens = memory.encode(prompt, typed, {}, "");
  EXPECT_EQ(tokens, test_tokenizer().encode(prompt.pieces(0, prompt.text.size())));
}

TEST_F(KeptAnswers, CallsAreTheSameHoweverTheirArgumentsAreWritten) {
  const std::string sampled = R"(Hm. <tool_call>{"name":"look",  "arguments":{"b":1,"a":"x"}}</tool_call>)";
  keep(asked, sampled);
  const auto with = [&](const Json& arguments) {
    Json answer = message("assistant", "Hm.");
    const Json function = JsonObject{{"name", "look"}, {"arguments", arguments}};
    answer.set("tool_calls",
               JsonArray{JsonObject{{"id", "1"}, {"type", "function"}, {"function", function}}});
    JsonArray all = asked;
    all.push_back(std::move(answer));
    return all;
  };
  EXPECT_TRUE(used(with(R"({"b": 1, "a": "x"})"), sampled));
  EXPECT_TRUE(used(with(R"({"a":"x","b":1.0})"), sampled)) << "as JavaScript might";
  EXPECT_TRUE(used(with(parse_json(R"({"a":"x","b":1})")), sampled));
  EXPECT_FALSE(used(with(R"({"b": 2, "a": "x"})"), sampled));
  EXPECT_FALSE(used(with(R"({"b": 1})"), sampled));
}

TEST_F(KeptAnswers, ReasoningThatTheTemplateDropsStaysDropped) {
  const std::string sampled = "<think>hm</think>hello";
  keep(asked, sampled);
  JsonArray all = asked;
  Json answer = message("assistant", "hello");
  answer.set("reasoning_content", "hm");
  all.push_back(answer);
  EXPECT_EQ(said_by(parsed(sampled)), said_by(answer));
  EXPECT_TRUE(used(all, sampled)) << "the last answer's is rendered";
  all.push_back(message("user", "more"));
  EXPECT_FALSE(used(all, sampled));
}

}  // namespace
}  // namespace minke
