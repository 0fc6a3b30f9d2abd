#include "api/anthropic_request.h"

#include "base/error.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr auto kRefused = Treatment::refused;
constexpr Field kText[] = {
    {"type"}, {"text"}, {"cache_control", kHarmless}, {"citations", kRefused, "[]", "nothing is cited"}};
constexpr Field kThinking[] = {{"type"}, {"thinking"}, {"signature", kHarmless}};
constexpr Field kToolUse[] = {
    {"type"}, {"id"}, {"name"}, {"input"}, {"cache_control", kHarmless}, {"caller", kHarmless}};
constexpr Field kToolResult[] = {
    {"type"}, {"tool_use_id"}, {"content"}, {"is_error"}, {"cache_control", kHarmless}};
constexpr Field kMessage[] = {{"role"}, {"content"}};
constexpr Field kTool[] = {{"type"},
                           {"name"},
                           {"description"},
                           {"input_schema"},
                           {"cache_control", kHarmless},
                           {"eager_input_streaming", kHarmless},
                           {"strict", kRefused, "false", "nothing makes arguments follow a schema"},
                           {"defer_loading", kRefused, "false"},
                           {"input_examples", kHarmless}};

// Text blocks, joined as paragraphs.
std::string text_of(const Json& content, const std::string& path) {
  if (content.is_string()) return content.as_string();
  if (!content.is_array()) wrong_field_type(path, "a string or an array of blocks", content);
  std::string all;
  size_t i = 0;
  for (const Json& block : content.as_array()) {
    const FieldReader fields(block, fmt::format("{}[{}]", path, i++));
    if (!block.is_object()) wrong_field_type(fields.path(""), "an object", block);
    if (const std::string& type = fields.require_text("type"); type != "text")
      throw Error(fmt::format("a block of type '{}'", type.substr(0, 100)), fields.path("type"),
                  "only text can be given to this model");
    check_fields(block, kText, fmt::format("{}[{}]", path, i - 1));
    if (!all.empty()) all += "\n\n";
    all += fields.require_text("text");
  }
  return all;
}

// The messages that one becomes: results of tools are messages of their own, before what is said with them.
class Translator {
 public:
  Translator(const Json& message, std::string path) : path_(std::move(path)) {
    check_fields(message, kMessage, path_);
    const FieldReader fields(message, path_);
    role_ = fields.require_text("role");
    if (role_ != "user" && role_ != "assistant" && role_ != "system")
      throw Error(fmt::format("unknown role '{}'", role_.substr(0, 100)), fields.path("role"),
                  "known are user, assistant and system");
    const Json& content = fields.require("content");
    if (!content.is_array()) {
      text_ = text_of(content, fields.path("content"));
      return;
    }
    size_t i = 0;
    for (const Json& block : content.as_array()) read_block(block, fmt::format("{}.content[{}]", path_, i++));
  }

  void append_to(JsonArray& messages) {
    for (Json& result : results_) messages.push_back(std::move(result));
    if (role_ != "assistant") {
      if (results_.empty() || !text_.empty())
        messages.push_back(JsonObject{{"role", role_}, {"content", text_}});
      return;
    }
    Json message = JsonObject{{"role", role_}, {"content", text_}};
    if (!thinking_.empty()) message.set("reasoning_content", thinking_);
    if (!calls_.empty()) message.set("tool_calls", std::move(calls_));
    messages.push_back(std::move(message));
  }

 private:
  void read_block(const Json& block, const std::string& path) {
    if (!block.is_object()) wrong_field_type(path, "an object", block);
    const FieldReader fields(block, path);
    const std::string& type = fields.require_text("type");
    const bool assistant = role_ == "assistant";
    if (type == "text") {
      check_fields(block, kText, path);
      if (!text_.empty()) text_ += "\n\n";
      text_ += fields.require_text("text");
    } else if (type == "thinking" && assistant) {
      check_fields(block, kThinking, path);
      thinking_ += fields.require_text("thinking");
    } else if (type == "redacted_thinking" && assistant) {
      // nothing of it could be read
    } else if (type == "tool_use" && assistant) {
      check_fields(block, kToolUse, path);
      const Json* input = fields.object("input");
      calls_.push_back(
          JsonObject{{"id", fields.require_text("id")},
                     {"type", "function"},
                     {"function", JsonObject{{"name", fields.require_text("name")},
                                             {"arguments", input ? *input : Json(JsonObject{})}}}});
    } else if (type == "tool_result" && role_ == "user") {
      check_fields(block, kToolResult, path);
      const Json* content = fields.find("content");
      std::string text = content ? text_of(*content, fields.path("content")) : std::string();
      if (fields.flag("is_error").value_or(false) && !text.starts_with("Error")) text = "Error: " + text;
      results_.push_back(JsonObject{
          {"role", "tool"}, {"tool_call_id", fields.require_text("tool_use_id")}, {"content", text}});
    } else {
      throw Error(fmt::format("a block of type '{}' in a message of {}", type.substr(0, 100), role_),
                  path + ".type", "text, thinking, tool_use and tool_result can be given to this model");
    }
  }

  const std::string path_;
  std::string role_, text_, thinking_;
  JsonArray calls_, results_;
};

Json read_tools(const JsonArray& tools) {
  JsonArray all;
  for (const Json& tool : tools) {
    const std::string path = fmt::format("tools[{}]", all.size());
    if (!tool.is_object()) wrong_field_type(path, "an object", tool);
    const FieldReader fields(tool, path);
    if (const auto type = fields.text("type"); type && *type != "custom")
      throw Error(fmt::format("a tool of type '{}'", type->substr(0, 100)), path + ".type",
                  "tools that a server runs are not supported, only the client's own");
    check_fields(tool, kTool, path);
    Json function = JsonObject{{"name", fields.require_text("name")}};
    if (const auto description = fields.text("description")) function.set("description", *description);
    if (!fields.object("input_schema")) throw Error("missing", path + ".input_schema");
    function.set("parameters", *fields.object("input_schema"));
    all.push_back(JsonObject{{"type", "function"}, {"function", std::move(function)}});
  }
  return all.empty() ? Json() : Json(std::move(all));
}

}  // namespace

ChatPrompt read_anthropic_prompt(const FieldReader& fields) {
  ChatPrompt prompt;
  JsonArray messages;
  if (const Json* system = fields.find("system"))
    if (std::string text = text_of(*system, "system"); !text.empty())
      messages.push_back(JsonObject{{"role", "system"}, {"content", std::move(text)}});
  fields.require("messages");
  const JsonArray& given = *fields.array("messages");
  if (given.empty()) throw Error("there is no message", "messages");
  for (size_t i = 0; i < given.size(); ++i)
    Translator(given[i], fmt::format("messages[{}]", i)).append_to(messages);
  if (const std::string& last = messages.back().at("role").as_string(); last == "assistant")
    throw Error("an answer that is begun cannot be continued", "messages", "the last message is the user's");
  prompt.messages = std::move(messages);
  if (const JsonArray* tools = fields.array("tools")) prompt.tools = read_tools(*tools);
  check_messages(prompt.messages);
  check_tools(prompt.tools);
  return prompt;
}

}  // namespace minke
