// The syntaxes of calls, what opens them and who reads them.

#include "text/answer_machine.h"
#include "text/answer_texts.h"

namespace minke {

using namespace answer_texts;

const char* name(CallSyntax syntax) {
  switch (syntax) {
    case CallSyntax::none: return "none";
    case CallSyntax::deepseek_v3: return "deepseek_v3";
    case CallSyntax::deepseek_v31: return "deepseek_v3.1";
    case CallSyntax::deepseek_v32: return "deepseek_v3.2";
    case CallSyntax::hermes: return "hermes";
    case CallSyntax::qwen25_coder: return "qwen2.5_coder";
    case CallSyntax::llama3: return "llama3";
    case CallSyntax::llama4: return "llama4";
  }
  return "?";
}

std::vector<CallOpening> call_openings(CallSyntax syntax) {
  constexpr CallOpening kObject{.text = "{", .at_start = true, .marked = false};
  switch (syntax) {
    case CallSyntax::none: return {};
    case CallSyntax::deepseek_v3:
    case CallSyntax::deepseek_v31: return {{kCallsBegin}};
    case CallSyntax::deepseek_v32: return {{kBlockOpen}};
    case CallSyntax::hermes: return {{kToolCall}};
    case CallSyntax::qwen25_coder: return {{kToolCall}, {.text = kFence, .at_start = true, .marked = false}};
    case CallSyntax::llama3: return {{kPythonTag}, kObject};
    case CallSyntax::llama4:
      return {{kPythonStart}, kObject, {.text = "[", .at_start = true, .marked = false}};
  }
  return {};
}

std::vector<std::string_view> call_markers(CallSyntax syntax) {
  switch (syntax) {
    case CallSyntax::none: return {};
    case CallSyntax::deepseek_v3:
    case CallSyntax::deepseek_v31: return {kCallsBegin, kCallsEnd, kCallBegin, kCallEnd, kSep};
    case CallSyntax::deepseek_v32: return {kDsml};
    case CallSyntax::hermes:
    case CallSyntax::qwen25_coder: return {kToolCall, kToolCallClose};
    case CallSyntax::llama3: return {kPythonTag};
    case CallSyntax::llama4: return {kPythonStart, kPythonEnd};
  }
  return {};
}

std::unique_ptr<CallReader> make_call_reader(const AnswerFormat& format, size_t which, AnswerOutput& out,
                                             Marker opening) {
  const bool marked = call_openings(format.calls)[which].marked;
  switch (format.calls) {
    case CallSyntax::none: return nullptr;
    case CallSyntax::deepseek_v3:
    case CallSyntax::deepseek_v31: return read_deepseek(format, out, std::move(opening));
    case CallSyntax::deepseek_v32: return read_dsml(format, out, std::move(opening));
    case CallSyntax::hermes: return read_tool_call(format, out, std::move(opening));
    case CallSyntax::qwen25_coder:
      return marked ? read_tool_call(format, out, std::move(opening)) : read_fence(out, std::move(opening));
    case CallSyntax::llama3:
    case CallSyntax::llama4: return read_llama(format, out, std::move(opening), marked);
  }
  return nullptr;
}

}  // namespace minke
