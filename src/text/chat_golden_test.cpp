// The published chat templates on the conversations of tests/golden/chat.

#include <cstdio>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "text/chat.h"
#include "text/deepseek_v32.h"
#include "text/deepseek_v32_text.h"

namespace minke {
namespace {

const fs::path kGolden = MINKE_TESTS_DIR "/golden/chat";

std::tm parse_time(const std::string& text) {  // 2025-07-04T12:34:56
  std::tm time{};
  EXPECT_EQ(std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                        &time.tm_hour, &time.tm_min, &time.tm_sec),
            6);
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  timegm(&time);  // sets the days of week and year
  return time;
}

// What came of rendering: pieces or an error.
struct Outcome {
  Pieces pieces;
  std::string error;
};

template <typename F>
Outcome attempt(F render) {
  try {
    return {render(), ""};
  } catch (const Error& e) {
    return {{}, e.what()};
  }
}

void expect_golden(const Outcome& outcome, const Json& expected, const std::string& name) {
  if (expected.find("error")) {
    EXPECT_FALSE(outcome.error.empty()) << name << " gave " << plain(outcome.pieces);
    return;
  }
  EXPECT_EQ(outcome.error, "") << name;
  EXPECT_EQ(plain(outcome.pieces), expected.at("rendered").as_string()) << name;
  for (size_t i = 0; i < outcome.pieces.size(); ++i) {
    EXPECT_FALSE(outcome.pieces[i].text.empty()) << name;
    EXPECT_TRUE(i == 0 || outcome.pieces[i].given != outcome.pieces[i - 1].given) << name;
  }
  const Json* pieces = expected.find("pieces");
  if (!pieces) return;
  Pieces wanted;
  for (const Json& piece : pieces->as_array())
    wanted.push_back({piece.as_array()[0].as_string() == "given", piece.as_array()[1].as_string()});
  EXPECT_TRUE(outcome.pieces == wanted) << name << ": other pieces than golden";
}

std::string take_token(const Json& kwargs, std::string_view name) {
  const Json* token = kwargs.find(name);
  return token ? token->as_string() : "";
}

void run_cases(const std::string& folder, const std::string& source) {
  const Json golden = parse_json(read_file(kGolden / folder / "cases.json"));
  ChatRenderOptions options;
  options.now = parse_time(golden.at("now").as_string());
  size_t count = 0, with_pieces = 0;
  for (const Json& one : golden.at("cases").as_array()) {
    ChatPrompt prompt;
    prompt.messages = one.at("messages");
    prompt.tools = one.at("tools");
    prompt.add_generation_prompt = one.at("add_generation_prompt").as_bool();
    prompt.kwargs = one.at("kwargs");
    const auto format = ChatFormat::from_template(
        source, {take_token(prompt.kwargs, "bos_token"), take_token(prompt.kwargs, "eos_token"),
                 take_token(prompt.kwargs, "pad_token")});
    const std::string name = folder + ": " + one.at("name").as_string();
    options.form = MessageForm::as_given;
    expect_golden(attempt([&] { return format.render(prompt, options); }), one, name);
    options.form = MessageForm::transformers;
    const Json* changed = one.find("apply_chat_template");
    expect_golden(attempt([&] { return format.render(prompt, options); }), changed ? *changed : one,
                  name + " (apply_chat_template)");
    ++count;
    with_pieces += one.find("pieces") != nullptr;
  }
  EXPECT_EQ(count, 43u) << folder;
  EXPECT_EQ(with_pieces, folder == "deepseek_r1_distill_qwen" ? 0u : 6u) << folder;
}

class ChatGolden : public testing::TestWithParam<const char*> {};

TEST_P(ChatGolden, Template) { run_cases(GetParam(), read_file(kGolden / GetParam() / "template.jinja")); }

INSTANTIATE_TEST_SUITE_P(All, ChatGolden,
                         testing::Values("deepseek_v3", "deepseek_v3.1", "deepseek_v3.2",
                                         "deepseek_r1_distill_qwen", "qwen2.5_coder", "qwen3", "smollm2"),
                         [](const auto& one) {
                           std::string name = one.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ChatGoldenLlama3, Template) {
  const fs::path config = MINKE_TESTS_DIR "/../build/cache/llama3/tokenizer_config.json";
  if (!fs::exists(config))
    GTEST_SKIP() << "Llama 3's template is not free to ship: tools/fetch_llama3_tokenizer.sh puts it into "
                 << fs::weakly_canonical(config).string();
  run_cases("llama3", parse_json(read_file(config)).at("chat_template").as_string());
}

TEST(DeepSeekV32, Renders) {
  const JsonArray golden =
      parse_json(read_file(kGolden / "deepseek_v3.2_native/cases.json")).at("cases").as_array();
  for (const Json& one : golden) {
    const auto render = [&] {
      V32Options options;
      options.mode = parse_thinking_mode(one.at("thinking_mode").as_string());
      options.drop_thinking = one.at("drop_thinking").as_bool();
      options.add_bos = one.at("add_default_bos_token").as_bool();
      if (!one.at("context").is_null()) options.context = one.at("context").as_array();
      return render_deepseek_v32(with_tools(one.at("messages").as_array(), one.at("tools")), options);
    };
    expect_golden(attempt(render), one, one.at("name").as_string());
  }
  EXPECT_EQ(golden.size(), 46u);
}

TEST(DeepSeekV32, Parses) {
  const JsonArray golden =
      parse_json(read_file(kGolden / "deepseek_v3.2_native/parse_cases.json")).at("cases").as_array();
  for (const Json& one : golden) {
    const std::string& name = one.at("name").as_string();
    const ThinkingMode mode = parse_thinking_mode(one.at("thinking_mode").as_string());
    const std::string& text = one.at("text").as_string();
    if (one.find("error")) {
      EXPECT_THROW(parse_deepseek_v32(text, mode), Error) << name;
      continue;
    }
    const ParsedCompletion parsed = parse_deepseek_v32(text, mode);
    EXPECT_EQ(parsed.content, one.at("content").as_string()) << name;
    EXPECT_EQ(parsed.reasoning_content, one.at("reasoning_content").as_string()) << name;
    std::vector<ToolCall> calls;
    for (const Json& call : one.at("tool_calls").as_array())
      calls.push_back(
          {call.at("function").at("name").as_string(), call.at("function").at("arguments").as_string()});
    EXPECT_TRUE(parsed.tool_calls == calls) << name;
  }
  EXPECT_EQ(golden.size(), 32u);
}

TEST(DeepSeekV32, ACompletionIsUtf8) {
  EXPECT_THROW(parse_deepseek_v32("caf\xc3<｜end▁of▁sentence｜>", ThinkingMode::chat), Error);
  EXPECT_EQ(parse_deepseek_v32("café<｜end▁of▁sentence｜>", ThinkingMode::chat).content, "café");
}

TEST(DeepSeekV32, ToolsBlockIsThePublishedText) {
  EXPECT_EQ(deepseek_v32::kToolsBlock, read_file(kGolden / "deepseek_v3.2_native/tools_block.txt"));
}

}  // namespace
}  // namespace minke
