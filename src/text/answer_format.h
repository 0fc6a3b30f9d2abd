#pragma once
// How a model writes its answers: where reasoning stands, and in which syntax tools are called.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat.h"

namespace minke {

// MODEL.md 5.3; docs/serving.md shows a call in each.
enum class CallSyntax {
  none,          // the template knows no tools: an answer is text
  deepseek_v3,   // and R1: a type, the name, and arguments in a ```json fence
  deepseek_v31,  // the name and the arguments
  deepseek_v32,  // markup with a parameter at a time
  hermes,        // Qwen's too: <tool_call>{"name": ..., "arguments": ...}</tool_call>
  qwen25_coder,  // the same, or the answer is exactly one fenced object of this form
  llama3,        // the answer is {"name": ..., "parameters": ...}, perhaps behind <|python_tag|>
  llama4,        // the same, or [name(parameter=value), ...]
};
const char* name(CallSyntax syntax);

// A fixed text of a format. Where the vocabulary has an added token for it, or for a part of it, only that
// token writes it: the same characters in ordinary tokens are quoted text.
struct Marker {
  std::string text;
  std::string added;  // [text.size()] 1 for each byte an added token writes, else 0
};

// Whether the vocabulary has an added token with this text.
using HasToken = std::function<bool(std::string_view text)>;

struct AnswerFormat {
  CallSyntax calls = CallSyntax::none;
  bool thinks = false;  // the model knows <think>: an answer may open its reasoning itself
  HasToken has_token;   // null: it has none. Lives as long as the format is used

  // By what the template says. `model_name`: whatever the model is called, for there are Qwen2.5-Coders that
  // nothing else tells from their siblings.
  static AnswerFormat of(const ChatFormat& chat, HasToken has_token, const std::string& model_name = {});

  // Texts of the added tokens that the parser needs to see. Where they are special tokens the engine writes
  // them only if told to (Request::written).
  std::vector<std::string> markers() const;
  Marker marker(std::string_view text) const;
};

// The names of the functions in OpenAI's `tools`; none for null. Throws Error as check_tools does.
std::vector<std::string> tool_names(const Json& tools);

}  // namespace minke
