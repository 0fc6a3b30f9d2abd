#pragma once
// The chat format of DeepSeek-V3.2, which its authors published as a program and not as a template: the
// prompt of a conversation, and a strict parser of completions (MODEL.md 5.3;
// golden/chat/deepseek_v3.2_native).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/token.h"

namespace minke {

enum class ThinkingMode { chat, thinking };
ThinkingMode parse_thinking_mode(std::string_view name);  // "chat", "thinking"; else throws Error

struct V32Options {
  ThinkingMode mode = ThinkingMode::chat;
  bool drop_thinking = true;  // of answers before the last user message
  bool add_bos = true;        // only where there is no context
  JsonArray context = {};     // messages the prompt already has: looked at, not rendered again
  // Without it a last user message or tool result is not followed by the start of an answer. The published
  // encoder has no such choice.
  bool add_generation_prompt = true;
};

// Messages are OpenAI's; a system or developer message may carry `tools` and `response_format`, an
// assistant's `reasoning_content`. Texts are strings. Throws Error whose subject is the path of the fault,
// also where the published encoder fails: an answer after the last user message without reasoning and calls
// in thinking mode, more results than calls, an earlier developer message in thinking mode.
Pieces render_deepseek_v32(const JsonArray& messages, const V32Options& options);

// The messages with the tools where the encoder looks for them: on the first message, a system message that
// is put there if need be.
JsonArray with_tools(JsonArray messages, const Json& tools);

struct ToolCall {
  std::string name;
  std::string
      arguments;  // a JSON object as text; values that were not marked as strings are as the model wrote them
  bool operator==(const ToolCall&) const = default;
};

struct ParsedCompletion {
  std::string content, reasoning_content;
  std::vector<ToolCall> tool_calls;
};

// `text` is what follows the prompt, its end token included (it may be absent behind a block of calls). In
// thinking mode it starts inside the reasoning. Throws Error for anything that is not exactly the format.
ParsedCompletion parse_deepseek_v32(std::string_view text, ThinkingMode mode);

}  // namespace minke
