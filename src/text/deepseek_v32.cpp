#include "text/deepseek_v32.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/deepseek_v32_text.h"
#include "text/python_json.h"

namespace minke {
namespace {

using namespace deepseek_v32;

// Collects pieces, neighbours of one mark in one.
class PromptWriter {
 public:
  void own(std::string_view text) { add(text, false); }
  void given(std::string_view text) { add(text, true); }
  Pieces take() { return std::move(pieces_); }

 private:
  void add(std::string_view text, bool given) {
    if (text.empty()) return;
    if (pieces_.empty() || pieces_.back().given != given) pieces_.push_back({given, {}});
    pieces_.back().text += text;
  }
  Pieces pieces_;
};

bool is_set(const Json* json) {  // what Python takes for true
  if (!json || json->is_null()) return false;
  if (json->is_string()) return !json->as_string().empty();
  if (json->is_array()) return !json->as_array().empty();
  if (json->is_object()) return !json->as_object().empty();
  return !json->is_bool() || json->as_bool();
}

// A text that may be absent or null, then it is empty.
std::string_view text_of(const Json& message, std::string_view key, const std::string& path) {
  const Json* text = message.find(key);
  if (!text || text->is_null()) return {};
  if (!text->is_string())
    throw Error(fmt::format("expected a string, found {}", text->type_name()),
                fmt::format("{}.{}", path, key));
  return text->as_string();
}

std::string_view role_of(const Json& message) {
  const Json* role = message.find("role");
  return role && role->is_string() ? std::string_view(role->as_string()) : std::string_view();
}

class Encoder {
 public:
  Encoder(const JsonArray& messages, const V32Options& options)
      : options_(options), thinking_(options.mode == ThinkingMode::thinking) {
    messages_.reserve(options.context.size() + messages.size());
    for (const Json& message : options.context) messages_.push_back(&message);
    for (const Json& message : messages) messages_.push_back(&message);
    for (size_t i = 0; i < messages_.size(); ++i) {
      if (!messages_[i]->is_object())
        throw Error(fmt::format("expected an object, found {}", messages_[i]->type_name()), path(i));
      const std::string_view role = role_of(*messages_[i]);
      if (role == "user" || role == "developer") last_user_ = static_cast<int>(i);
    }
  }

  Pieces run() {
    if (options_.add_bos && options_.context.empty()) out_.own(kBos);
    for (size_t i = options_.context.size(); i < messages_.size(); ++i) message(i);
    return out_.take();
  }

 private:
  // Messages are counted as the caller knows them: the context is not among them.
  std::string path(size_t i) const {
    const size_t context = options_.context.size();
    return i < context ? fmt::format("context[{}]", i) : fmt::format("messages[{}]", i - context);
  }

  void message(size_t i) {
    const std::string_view role = role_of(*messages_[i]);
    if (role == "system")
      system(i);
    else if (role == "developer")
      developer(i);
    else if (role == "user")
      user(i);
    else if (role == "tool")
      result(i);
    else if (role == "assistant")
      assistant(i);
    else
      throw Error(fmt::format("unknown role '{}'", role), path(i) + ".role");
  }

  void system(size_t i) {
    out_.given(text_of(*messages_[i], "content", path(i)));
    extras(i);
  }

  // The tools block and the response format, each after a blank line.
  void extras(size_t i) {
    const Json& message = *messages_[i];
    if (const Json* tools = message.find("tools"); is_set(tools)) {
      out_.own("\n\n");
      tools_block(*tools, path(i) + ".tools");
    }
    if (const Json* schema = message.find("response_format"); is_set(schema)) {
      out_.own("\n\n");
      out_.own(kResponseFormat);
      out_.given(python_json(*schema));
    }
  }

  void tools_block(const Json& tools, const std::string& tools_path) {
    if (!tools.is_array())
      throw Error(fmt::format("expected an array, found {}", tools.type_name()), tools_path);
    for (size_t begin = 0; begin < kToolsBlock.size();) {
      const size_t open = std::min(kToolsBlock.find('{', begin), kToolsBlock.size());
      out_.own(kToolsBlock.substr(begin, open - begin));
      if (open == kToolsBlock.size()) break;
      const size_t close = kToolsBlock.find('}', open);
      const std::string_view name = kToolsBlock.substr(open + 1, close - open - 1);
      if (name == "dsml_token")
        out_.own(kDsml);
      else if (name == "thinking_start_token")
        out_.own(kThinkStart);
      else if (name == "thinking_end_token")
        out_.own(kThinkEnd);
      else
        schemas(tools.as_array(), tools_path);
      begin = close + 1;
    }
  }

  void schemas(const JsonArray& tools, const std::string& tools_path) {
    for (size_t i = 0; i < tools.size(); ++i) {
      const Json* function = tools[i].find("function");
      if (!function) throw Error("missing", fmt::format("{}[{}].function", tools_path, i));
      if (i) out_.own("\n");
      out_.given(python_json(*function));
    }
  }

  void start_answer(size_t i, bool think) {
    if (options_.add_generation_prompt || i + 1 < messages_.size()) out_.own(think ? kThinkStart : kThinkEnd);
  }

  void after_user(size_t i) {
    if (options_.add_generation_prompt || i + 1 < messages_.size()) out_.own(kAssistant);
    start_answer(i, thinking_ && static_cast<int>(i) == last_user_);
  }

  void user(size_t i) {
    const Json* content = messages_[i]->find("content");
    if (!content || content->is_null()) throw Error(content ? "null" : "missing", path(i) + ".content");
    out_.own(kUser);
    out_.given(text_of(*messages_[i], "content", path(i)));
    after_user(i);
  }

  // An earlier one is dropped by the published encoder along with the reasoning of earlier answers, but still
  // counted: it then fails. A reasonable reading of it is not to be had.
  void developer(size_t i) {
    if (thinking_ && options_.drop_thinking && static_cast<int>(i) < last_user_)
      throw Error("a developer message before the last user message", path(i),
                  "DeepSeek-V3.2's encoder does not take it in thinking mode");
    const std::string_view content = text_of(*messages_[i], "content", path(i));
    if (content.empty()) throw Error("a developer message must have a text", path(i) + ".content");
    out_.own(kUser);
    extras(i);
    out_.own(kDeveloper);
    out_.given(content);
    after_user(i);
  }

  void result(size_t i) {
    size_t caller = i;
    while (caller > 0 && role_of(*messages_[caller]) == "tool") --caller;
    const Json* calls =
        role_of(*messages_[caller]) == "assistant" ? messages_[caller]->find("tool_calls") : nullptr;
    const size_t order = i - caller, count = calls && calls->is_array() ? calls->as_array().size() : 0;
    if (order > count || count == 0)
      throw Error("a tool's result that no call asked for", path(i),
                  "results follow the assistant message with the calls");
    const Json* content = messages_[i]->find("content");
    if (!content || content->is_null()) throw Error(content ? "null" : "missing", path(i) + ".content");
    if (order == 1) out_.own("\n\n<function_results>");
    out_.own("\n<result>");
    out_.given(text_of(*messages_[i], "content", path(i)));
    out_.own("</result>");
    if (order < count) return;
    out_.own("\n</function_results>");
    if (options_.add_generation_prompt || i + 1 < messages_.size()) out_.own("\n\n");
    start_answer(i, thinking_ && static_cast<int>(i) >= last_user_);
  }

  void assistant(size_t i) {
    const Json& message = *messages_[i];
    const Json* calls = message.find("tool_calls");
    if (thinking_ && static_cast<int>(i) > last_user_) {
      const std::string_view reasoning = text_of(message, "reasoning_content", path(i));
      if (reasoning.empty() && !is_set(calls))
        throw Error("an answer without reasoning_content or tool_calls after the last user message", path(i),
                    "in thinking mode it needs one of them");
      out_.given(reasoning);
      out_.own(kThinkEnd);
    }
    out_.given(text_of(message, "content", path(i)));
    if (is_set(calls)) call_block(*calls, path(i) + ".tool_calls");
    out_.own(kEos);
  }

  void tag(std::string_view text) {  // its $ stands for the DSML token
    const size_t at = text.find('$');
    out_.own(text.substr(0, at));
    out_.own(kDsml);
    out_.own(text.substr(at + 1));
  }

  void call_block(const Json& calls, const std::string& calls_path) {
    if (!calls.is_array())
      throw Error(fmt::format("expected an array, found {}", calls.type_name()), calls_path);
    tag("\n\n<$function_calls>\n");
    for (size_t i = 0; i < calls.as_array().size(); ++i) {
      const std::string call_path = fmt::format("{}[{}].function", calls_path, i);
      const Json* function = calls.as_array()[i].find("function");
      if (!function || !function->is_object()) throw Error("missing", call_path);
      const Json* name = function->find("name");
      if (!name || !name->is_string()) throw Error("missing, or no string", call_path + ".name");
      tag("<$invoke name=\"");
      out_.given(name->as_string());
      out_.own("\">\n");
      parameters(*function, call_path + ".arguments");
      tag("\n</$invoke>\n");
    }
    tag("</$function_calls>");
  }

  void parameters(const Json& function, const std::string& arguments_path) {
    const Json* arguments = function.find("arguments");
    if (!arguments) throw Error("missing", arguments_path);
    Json parsed;
    if (arguments->is_string()) {
      try {
        parsed = parse_json(arguments->as_string(), {.reject_repeated_keys = false});
      } catch (const Error& e) {
        throw e.within(arguments_path);
      }
      arguments = &parsed;
    }
    if (!arguments->is_object())
      throw Error(fmt::format("expected a JSON object, found {}", arguments->type_name()), arguments_path);
    bool first = true;
    for (const auto& [key, value] : arguments->as_object()) {
      if (!std::exchange(first, false)) out_.own("\n");
      tag("<$parameter name=\"");
      out_.given(key);
      out_.own(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
      out_.given(value.is_string() ? value.as_string() : python_json(value));
      tag("</$parameter>");
    }
  }

  const V32Options& options_;
  const bool thinking_;
  std::vector<const Json*> messages_;
  int last_user_ = -1;
  PromptWriter out_;
};

}  // namespace

ThinkingMode parse_thinking_mode(std::string_view name) {
  if (name == "chat") return ThinkingMode::chat;
  if (name == "thinking") return ThinkingMode::thinking;
  throw Error(fmt::format("unknown mode '{}'", name), "thinking_mode", "known are chat and thinking");
}

Pieces render_deepseek_v32(const JsonArray& messages, const V32Options& options) {
  return Encoder(messages, options).run();
}

JsonArray with_tools(JsonArray messages, const Json& tools) {
  if (!is_set(&tools)) return messages;
  if (messages.empty() || role_of(messages[0]) != "system")
    messages.insert(messages.begin(), Json(JsonObject{{"role", "system"}, {"content", ""}}));
  messages[0].set("tools", tools);
  return messages;
}

}  // namespace minke
