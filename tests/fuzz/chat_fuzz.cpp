// room: text
// Any MESSAGES.json is refused with an Error that is fit to print, or renders in every built-in format and in
// DeepSeek-V3.2's own; and any text parses as a completion of that format or is refused.

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/chat.h"
#include "text/deepseek_v32.h"
#include "text/utf8.h"

namespace {

using namespace minke;

std::vector<ChatFormat> make_formats() {
  std::vector<ChatFormat> formats;
  for (const std::string_view name : ChatFormat::built_in_names())
    formats.push_back(ChatFormat::built_in(name, {.bos = "<s>", .eos = "</s>", .pad = ""}));
  return formats;
}

template <typename F>
void attempt(F f) {
  try {
    f();
  } catch (const Error& error) {
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
  }
}

void check(const Pieces& pieces) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    MINKE_CHECK(!pieces[i].text.empty());
    MINKE_CHECK(i == 0 || pieces[i].given != pieces[i - 1].given);
    MINKE_CHECK(find_invalid_utf8(pieces[i].text) == std::string::npos);
  }
}

void parse(std::string_view text) {
  for (const ThinkingMode mode : {ThinkingMode::chat, ThinkingMode::thinking})
    attempt([&] {
      const ParsedCompletion parsed = parse_deepseek_v32(text, mode);
      MINKE_CHECK(text.find(parsed.content) != text.npos);
      MINKE_CHECK(text.find(parsed.reasoning_content) != text.npos);
      MINKE_CHECK(mode == ThinkingMode::thinking || parsed.reasoning_content.empty());
      for (const ToolCall& call : parsed.tool_calls) MINKE_CHECK(text.find(call.name) != text.npos);
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<ChatFormat> formats = make_formats();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse(text);
  attempt([&] {
    const Json json = parse_json(text);
    const ChatPrompt prompt = read_chat_prompt(json);
    ChatRenderOptions options;
    options.now = std::tm{};
    options.now->tm_mday = 1;
    options.limits.steps = 50'000;
    options.limits.bytes = 1 << 20;
    for (const ChatFormat& format : formats)
      for (const MessageForm form :
           {MessageForm::as_given, MessageForm::transformers, MessageForm::adapted}) {
        options.form = form;
        attempt([&] { check(format.render(prompt, options)); });
      }
    for (const ThinkingMode mode : {ThinkingMode::chat, ThinkingMode::thinking})
      attempt([&] {
        check(render_deepseek_v32(with_tools(prompt.messages.as_array(), prompt.tools), {.mode = mode}));
      });
  });
  return 0;
}
