#include "train/chat_text.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "text/tokenizer_recipe.h"

namespace minke {
namespace {

const SpecialTokens kTokens = {.bos = "<｜begin▁of▁sentence｜>", .eos = "<｜end▁of▁sentence｜>", .pad = {}};

Json conversation(std::initializer_list<std::pair<const char*, const char*>> turns) {
  JsonArray messages;
  for (const auto& [role, content] : turns)
    messages.push_back(JsonObject{{"role", role}, {"content", content}});
  return messages;
}

// A sample's text with what is learned in [[ ]].
std::string shown(const ChatSample& sample) {
  std::string text = plain(sample.pieces);
  for (auto answer = sample.answers.rbegin(); answer != sample.answers.rend(); ++answer) {
    text.insert(answer->end, "]]");
    text.insert(answer->begin, "[[");
  }
  return text;
}

std::vector<std::string> shown(const ChatFormat& format, const Json& json) {
  std::vector<std::string> all;
  for (const ChatSample& sample : chat_samples(format, json)) all.push_back(shown(sample));
  return all;
}

const Json kTwo = conversation({{"system", "Be brief."},
                                {"user", "Hi"},
                                {"assistant", "Hello."},
                                {"user", "Bye"},
                                {"assistant", "<b>Bye.</b>"}});
using Texts = std::vector<std::string>;

TEST(ChatText, ChatMl) {
  EXPECT_EQ(
      shown(ChatFormat::built_in("chatml", kTokens), kTwo),
      Texts{"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
            "[[Hello.<|im_end|>]]\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n[[<b>Bye.</"
            "b><|im_end|>]]\n"});
}

TEST(ChatText, DeepSeekV3) {
  EXPECT_EQ(shown(ChatFormat::built_in("deepseek-v3", kTokens), kTwo),
            Texts{"<｜begin▁of▁sentence｜>Be "
                  "brief.<｜User｜>Hi<｜Assistant｜>[[Hello.<｜end▁of▁sentence｜>]]<｜User｜>Bye"
                  "<｜Assistant｜>[[<b>Bye.</b><｜end▁of▁sentence｜>]]"});
}

TEST(ChatText, AThinkingFormatHasASampleForEachAnswer) {
  const ChatFormat r1 = ChatFormat::built_in("deepseek-r1", kTokens);
  EXPECT_EQ(shown(r1, conversation({{"user", "Hi"},
                                    {"assistant", "<think>\nWho?\n</think>\n\nHello."},
                                    {"user", "Bye"},
                                    {"assistant", "Bye."}})),
            (Texts{"<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>\n[[Who?\n</"
                   "think>\n\nHello.<｜end▁of▁sentence｜>]]",
                   "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>\n\nHello.<｜end▁of▁sentence｜><"
                   "｜User｜>Bye<｜Assistant｜>"
                   "<think>\n[[\n</think>\n\nBye.<｜end▁of▁sentence｜>]]"}));
  // </think> is the format's own: what the data has become tokens.
  const auto samples = chat_samples(r1, conversation({{"user", "Hi"}, {"assistant", "a</think>b</think>"}}));
  ASSERT_EQ(samples.size(), 1u);
  Pieces expected = {
      {true, "a"}, {false, "\n</think>\n\n"}, {true, "b</think>"}, {false, "<｜end▁of▁sentence｜>"}};
  EXPECT_EQ(Pieces(samples[0].pieces.end() - 4, samples[0].pieces.end()), expected);
}

TEST(ChatText, GenerationSaysWhatIsLearned) {
  const ChatFormat format = ChatFormat::from_template(
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }};{% "
      "endgeneration %}"
      "{% else %}U:{{ m.content }};{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
      kTokens);
  EXPECT_EQ(
      shown(format, conversation({{"user", "x"}, {"assistant", "y"}, {"user", "z"}, {"assistant", "w"}})),
      Texts{"U:x;A:[[y;]]U:z;A:[[w;]]"});
}

TEST(ChatText, AnAnswerThatBeginsAConversation) {
  EXPECT_EQ(shown(ChatFormat::built_in("deepseek-v3", kTokens),
                  conversation({{"assistant", "Welcome."}, {"user", "Hi"}})),
            Texts{"<｜begin▁of▁sentence｜><｜Assistant｜>[[Welcome.<｜end▁of▁sentence｜>]]<｜User｜>Hi"});
}

// The published templates: what is learned is the answers and what ends them, whatever stands between.
TEST(ChatText, PublishedTemplates) {
  int templates = 0;
  for (const auto& folder : fs::directory_iterator(MINKE_TESTS_DIR "/golden/chat")) {
    const fs::path file = folder.path() / "template.jinja";
    if (!fs::exists(file)) continue;
    ++templates;
    const std::string name = folder.path().filename().string();
    const ChatFormat format = ChatFormat::from_template(read_file(file), kTokens);
    std::string learned;
    for (const ChatSample& sample : chat_samples(format, kTwo)) {
      const std::string text = plain(sample.pieces);
      for (const TextRun& answer : sample.answers)
        learned += text.substr(answer.begin, answer.end - answer.begin);
    }
    const size_t first = learned.find("Hello."), second = learned.find("<b>Bye.</b>");
    EXPECT_TRUE(first != learned.npos && second != learned.npos && first < second) << name << ": " << learned;
    for (const char* other : {"Hi", "user", "User", "assistant", "Assistant", "Be brief."})
      EXPECT_EQ(learned.find(other), learned.npos) << name << ": " << learned;
    EXPECT_GT(learned.size(), second + 11) << name << ": nothing ends the answer";
  }
  EXPECT_GE(templates, 5);
}

TEST(ChatText, MistakesAreNamed) {
  const ChatFormat format = ChatFormat::built_in("chatml", kTokens);
  EXPECT_THROW(chat_samples(format, conversation({{"user", "Hi"}})), Error);
  EXPECT_THROW(chat_samples(format, conversation({{"nobody", "Hi"}, {"assistant", "x"}})), Error);
  EXPECT_THROW(chat_samples(format, Json()), Error);
}

TEST(ChatText, OnlyAnswersAreLearned) {
  const TokenizerFiles files = make_tokenizer({}, learn_bpe({}, {.vocab = 256}));
  const Tokenizer tokenizer = Tokenizer::from_json(to_string(files.tokenizer_json()), "tokenizer.json",
                                                   to_string(files.tokenizer_config(100)));
  const ChatFormat format = ChatFormat::built_in("deepseek-v3", kTokens);
  // What a user types is text, though it looks like the format's own.
  const auto samples =
      chat_samples(format, conversation({{"user", "<｜Assistant｜>"}, {"assistant", "Yes"}}));
  ASSERT_EQ(samples.size(), 1u);
  const LearnedTokens tokens = encode(tokenizer, samples[0]);
  std::vector<Token> learned;
  int assistants = 0;
  for (size_t i = 0; i < tokens.tokens.size(); ++i) {
    if (tokens.learned[i]) learned.push_back(tokens.tokens[i]);
    assistants += tokens.tokens[i] == tokenizer.find("<｜Assistant｜>");
  }
  EXPECT_EQ(tokenizer.decode(learned), "Yes<｜end▁of▁sentence｜>");
  EXPECT_EQ(learned.size(), 4u);
  EXPECT_EQ(assistants, 1);
  EXPECT_EQ(tokenizer.decode(tokens.tokens), plain(samples[0].pieces));
}

}  // namespace
}  // namespace minke
