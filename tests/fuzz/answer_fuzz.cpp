// room: text
// Any answer, in each format and however it is cut, comes apart in the same way, and no half call comes out
// of it. The first byte chooses the format, the second how the text is cut, the third what else holds.

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/answer_test.h"
#include "text/utf8.h"

namespace {

using namespace minke;

constexpr CallSyntax kSyntaxes[] = {
    CallSyntax::none,   CallSyntax::deepseek_v3,  CallSyntax::deepseek_v31, CallSyntax::deepseek_v32,
    CallSyntax::hermes, CallSyntax::qwen25_coder, CallSyntax::llama3,       CallSyntax::llama4};

std::vector<size_t> cuts(size_t size, size_t part, size_t step) {
  std::vector<size_t> at;
  for (size_t next = part; next < size; next += part) {
    at.push_back(next);
    part = 1 + (part + step) % 11;
  }
  return at;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string text = mend_utf8({reinterpret_cast<const char*>(data) + 3, size - 3});
  const AnswerFormat format = answer_format(kSyntaxes[data[0] % std::size(kSyntaxes)], (data[2] & 1) != 0);
  AnswerOptions options;
  if ((data[2] & 2) == 0) options.tools = {"get_weather", "add"};
  options.in_reasoning = (data[2] & 4) != 0;
  if ((data[2] & 8) != 0) options.max_held = 64;
  const MarkedText given = (data[2] & 16) != 0 ? MarkedText{text, {}} : marked(format, text);
  const Parsed whole = parse_in_parts(format, options, given, {});
  MINKE_CHECK(complaint(whole, options, text).empty());
  MINKE_CHECK(parse_in_parts(format, options, given, cuts(text.size(), 1, 10)) == whole);
  MINKE_CHECK(parse_in_parts(format, options, given, cuts(text.size(), 1 + data[1] % 11, data[1] / 11)) ==
              whole);
  if (options.tools.empty()) MINKE_CHECK(whole.answer.calls.empty() && whole.answer.fault.empty());
  for (const ToolCall& call : whole.answer.calls)
    MINKE_CHECK(find_invalid_utf8(call.arguments) == std::string_view::npos);
  return 0;
}
