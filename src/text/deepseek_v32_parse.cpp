#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "text/deepseek_v32.h"
#include "text/deepseek_v32_text.h"
#include "text/python_json.h"
#include "text/utf8.h"

namespace minke {
namespace {

using namespace deepseek_v32;

constexpr std::string_view kBlockStart = "\n\n<｜DSML｜function_calls";
constexpr std::string_view kBlockEnd = "</｜DSML｜function_calls>";
constexpr std::string_view kInvoke = "<｜DSML｜invoke";
constexpr std::string_view kInvokeEnd = "</｜DSML｜invoke";
constexpr std::string_view kParameter = "<｜DSML｜parameter";
constexpr std::string_view kParameterEnd = "</｜DSML｜parameter";

class Parser {
 public:
  Parser(std::string_view text, ThinkingMode mode) : text_(text), thinking_(mode == ThinkingMode::thinking) {}

  ParsedCompletion run() {
    ParsedCompletion result;
    if (thinking_) {
      const auto [reasoning, stop] = read_until({kThinkEnd, kBlockStart});
      if (stop != kThinkEnd) fail("the reasoning is not closed by </think>");
      result.reasoning_content = reasoning;
    }
    const auto [content, stop] = read_until({kEos, kBlockStart});
    if (stop.empty()) fail("the answer has no end token");
    result.content = content;
    if (stop == kBlockStart) {
      calls(result.tool_calls);
      if (!rest().empty() && !accept(kEos)) fail("text behind the block of calls");
    }
    if (!rest().empty()) fail("text behind the end token");
    for (const std::string_view token : {kBos, kEos, kThinkStart, kThinkEnd, kDsml})
      if (content.find(token) != std::string_view::npos ||
          result.reasoning_content.find(token) != std::string::npos)
        fail(fmt::format("the format's own token '{}' inside the text", token));
    return result;
  }

 private:
  struct Part {
    std::string_view text, stop;  // up to the first of the stops, and which it was; empty where none comes
  };

  [[noreturn]] void fail(std::string happened) const {
    throw Error(std::move(happened), fmt::format("completion, byte {}", position_));
  }
  std::string_view rest() const { return text_.substr(position_); }

  bool accept(std::string_view expected) {
    if (!rest().starts_with(expected)) return false;
    position_ += expected.size();
    return true;
  }
  void expect(std::string_view expected, std::string_view where) {
    if (!accept(expected)) fail(fmt::format("expected '{}' {}", expected, where));
  }

  Part read_until(std::initializer_list<std::string_view> stops) {
    Part part{rest(), {}};
    for (const std::string_view stop : stops) {
      const size_t at = rest().find(stop);
      if (at < part.text.size()) part = {rest().substr(0, at), stop};
    }
    position_ += part.text.size() + part.stop.size();
    return part;
  }

  void calls(std::vector<ToolCall>& all) {
    expect(">\n", "at the start of the block of calls");
    while (!accept(kBlockEnd)) {
      expect(kInvoke, "in the block of calls");
      all.push_back(call());
    }
  }

  ToolCall call() {
    while (rest().starts_with(' ') || rest().starts_with('\n')) ++position_;
    expect("name=\"", "in a call");
    const auto [name, stop] = read_until({"\">\n"});
    if (stop.empty()) fail("a call's name does not end");
    ToolCall call{std::string(name), "{"};
    std::set<std::string_view> seen;
    while (accept(kParameter)) parameter(call, seen);
    expect(kInvokeEnd, "behind the parameters of a call");
    expect(">\n", "behind a call");
    call.arguments += '}';
    return call;
  }

  void parameter(ToolCall& call, std::set<std::string_view>& seen) {
    expect(" name=\"", "in a parameter");
    const auto [name, stop] = read_until({"\" string=\""});
    if (stop.empty()) fail("a parameter's name does not end");
    const bool is_text = accept("true\">");
    if (!is_text) expect("false\">", "in a parameter");
    const auto [value, end] = read_until({kParameterEnd});
    if (end.empty()) fail("a parameter does not end");
    expect(">\n", "behind a parameter");
    if (!seen.empty()) call.arguments += ", ";
    if (!seen.insert(name).second) fail(fmt::format("parameter '{}' is repeated", name));
    call.arguments +=
        python_json(Json(name)) + ": " + (is_text ? python_json(Json(value)) : std::string(value));
  }

  std::string_view text_;
  bool thinking_;
  size_t position_ = 0;
};

}  // namespace

ParsedCompletion parse_deepseek_v32(std::string_view text, ThinkingMode mode) {
  if (const size_t at = find_invalid_utf8(text); at != std::string_view::npos)
    throw Error(fmt::format("not valid UTF-8 at byte {}", at), "completion");
  return Parser(text, mode).run();
}

}  // namespace minke
