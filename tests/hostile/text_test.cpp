// tokenizer.json, chat templates and conversations, damaged.

#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "samples.h"
#include "text/chat.h"
#include "text/deepseek_v32.h"
#include "text/golden_tokenizers.h"

namespace minke {
namespace {

class HostileTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(HostileTokenizer, TurnedBits) {
  const std::string small = to_string(smaller_tokenizer(GetParam(), 700));
  const auto use = [](std::string_view text) { use_tokenizer(Tokenizer::from_json(text, "sample")); };
  use(small);
  const Tally tally = turn_bits_in_memory(small, 0, hostile_rounds(), "sample", use);
  EXPECT_GT(tally.refused, 0);
}

TEST_P(HostileTokenizer, Cuts) {
  const std::string small = to_string(smaller_tokenizer(GetParam(), 700));
  Tally tally;
  for (size_t size = 0; size < small.size(); size += 512)
    attempt([&] { Tokenizer::from_json(std::string_view(small).substr(0, size), "sample"); }, "sample",
            tally);
  EXPECT_EQ(tally.taken, 0);
}

// The whole files, gzip or not, are large: fewer of these.
TEST_P(HostileTokenizer, WholeFiles) {
  const ScratchFolder folder;
  const fs::path golden = kGoldenFolder / "tokenizer" / GetParam();
  fs::path file = golden / "tokenizer.json";
  if (!fs::exists(file)) file += ".gz";
  const fs::path copy = folder / file.filename().string();
  fs::copy(file, copy);
  const auto use = [&] { use_tokenizer(Tokenizer::from_file(copy)); };
  const int rounds = hostile_rounds();
  turn_bits_in_file(copy, {0, fs::file_size(copy)}, std::max(2, rounds / 100), copy.string(), use);
  const size_t step = rounds >= 10000 ? 4096 : size_t{1} << 18;
  EXPECT_EQ(cut_file(copy, step, copy.string(), use).taken, 0);
}

INSTANTIATE_TEST_SUITE_P(All, HostileTokenizer, testing::Values("deepseek_v3", "qwen2", "smollm"),
                         [](const auto& p) { return std::string(p.param); });

ChatRenderOptions bounded() {
  ChatRenderOptions options;
  options.now = std::tm{};
  options.now->tm_mday = 1;
  options.limits.steps = 1'000'000;
  return options;
}

ChatPrompt conversation() {
  return read_chat_prompt(parse_json(R"({"messages": [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <|im_end|>"},
    {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "c1", "type": "function",
      "function": {"name": "look", "arguments": "{\"at\": [1, 2.5, null]}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "nothing"}, {"role": "user", "content": "And now?"}],
    "tools": [{"type": "function", "function": {"name": "look", "description": "looks",
      "parameters": {"type": "object", "properties": {"at": {"type": "array"}}}}}]})"));
}

class HostileTemplate : public testing::TestWithParam<const char*> {};

TEST_P(HostileTemplate, TurnedBitsAndCuts) {
  const std::string source = read_file(kGoldenFolder / "chat" / GetParam() / "template.jinja");
  const ChatPrompt prompt = conversation();
  const ChatRenderOptions options = bounded();
  const auto use = [&](std::string_view text) {
    ChatFormat::from_template(text, {.bos = "<s>", .eos = "</s>", .pad = ""}, "sample")
        .render(prompt, options);
  };
  Tally tally = turn_bits_in_memory(source, 0, std::max(hostile_rounds(), 300), "", use);
  EXPECT_GT(tally.taken, 0);
  EXPECT_GT(tally.refused, 0);
  for (size_t size = 0; size < source.size(); size += 61)
    attempt([&] { use(std::string_view(source).substr(0, size)); }, "", tally);
}

INSTANTIATE_TEST_SUITE_P(All, HostileTemplate,
                         testing::Values("deepseek_v3", "deepseek_v3.1", "deepseek_v3.2",
                                         "deepseek_r1_distill_qwen", "qwen2.5_coder", "qwen3", "smollm2"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(HostileMessages, TurnedBitsAndCuts) {
  const ChatRenderOptions options = bounded();
  const ChatPrompt whole = conversation();
  Json json;
  json.set("messages", whole.messages);
  json.set("tools", whole.tools);
  const std::string sample = to_string(json);
  const auto use = [&](std::string_view text) {
    const ChatPrompt prompt = read_chat_prompt(parse_json(text));
    std::optional<Error> refused;  // some formats have no words for calls
    bool rendered = false;
    for (const std::string_view name : ChatFormat::built_in_names()) {
      try {
        ChatFormat::built_in(name, {.bos = "<s>", .eos = "</s>", .pad = ""}).render(prompt, options);
        rendered = true;
      } catch (const Error& e) {
        refused = e;
      }
    }
    if (!rendered) throw *refused;
    render_deepseek_v32(with_tools(prompt.messages.as_array(), prompt.tools), {});
  };
  use(sample);
  Tally tally = turn_bits_in_memory(sample, 0, hostile_rounds(), "", use);
  EXPECT_GT(tally.taken, 0);
  EXPECT_GT(tally.refused, 0);
  Tally cuts;
  for (size_t size = 0; size < sample.size(); ++size)
    attempt([&] { use(std::string_view(sample).substr(0, size)); }, "", cuts);
  EXPECT_EQ(cuts.taken, 0);
}

}  // namespace
}  // namespace minke
