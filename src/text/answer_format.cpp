#include "text/answer_format.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "text/answer_machine.h"
#include "text/answer_texts.h"

namespace minke {
namespace {

using answer_texts::kDsml;

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

bool names_qwen25_coder(std::string name) {
  std::erase_if(name, [](char c) { return c == '-' || c == '_' || c == ' ' || c == '.'; });
  std::ranges::transform(name, name.begin(),
                         [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return has(name, "qwen25coder");
}

CallSyntax syntax_of(std::string_view source, const std::string& model) {
  if (has(source, kDsml)) return CallSyntax::deepseek_v32;
  if (has(source, answer_texts::kCallsBegin))
    return has(source, answer_texts::kFence) ? CallSyntax::deepseek_v3 : CallSyntax::deepseek_v31;
  if (has(source, answer_texts::kToolCall)) {
    if (has(source, "<function=")) return CallSyntax::none;  // Qwen3-Coder's markup
    // Most of Qwen2.5-Coder's templates can be told by a slip: braces that were doubled for Python and stayed
    // so.
    const bool doubled = has(source, "{{\\\"name\\\": <function-name>");
    return doubled || names_qwen25_coder(model) ? CallSyntax::qwen25_coder : CallSyntax::hermes;
  }
  if (has(source, "<|header_start|>") || has(source, answer_texts::kPythonStart)) return CallSyntax::llama4;
  if (has(source, "<|start_header_id|>") || has(source, answer_texts::kPythonTag)) return CallSyntax::llama3;
  return CallSyntax::none;
}

}  // namespace

AnswerFormat AnswerFormat::of(const ChatFormat& chat, HasToken has_token, const std::string& model_name) {
  AnswerFormat format;
  const std::string_view source = chat.source();
  format.calls = source.empty() ? CallSyntax::deepseek_v32 : syntax_of(source, model_name);
  format.thinks = source.empty() || has(source, "think>") || (has_token && has_token("<think>"));
  format.has_token = std::move(has_token);
  return format;
}

std::vector<std::string> AnswerFormat::markers() const {
  std::vector<std::string> all;
  const auto add = [&](std::string_view text) {
    if (has_token && has_token(text)) all.emplace_back(text);
  };
  for (const std::string_view text : call_markers(calls)) add(text);
  add(answer_texts::kThinkOpen);
  add(answer_texts::kThinkClose);
  return all;
}

Marker AnswerFormat::marker(std::string_view text) const {
  Marker marker{std::string(text), std::string(text.size(), '\0')};
  if (!has_token || text.empty()) return marker;
  if (has_token(text)) {
    marker.added.assign(text.size(), '\1');
  } else if (const size_t at = text.find(kDsml); at != text.npos && has_token(kDsml)) {
    std::fill_n(marker.added.begin() + static_cast<int64_t>(at), kDsml.size(), '\1');
  }
  return marker;
}

std::vector<std::string> tool_names(const Json& tools) {
  check_tools(tools);
  std::vector<std::string> names;
  if (tools.is_null()) return names;
  for (const Json& tool : tools.as_array()) names.push_back(tool.at("function").at("name").as_string());
  return names;
}

}  // namespace minke
