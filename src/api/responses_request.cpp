#include "api/responses_request.h"

#include <utility>

#include "base/error.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr Field kMessage[] = {
    {"type"}, {"role"}, {"content"}, {"id", kHarmless}, {"status", kHarmless}, {"phase", kHarmless}};
constexpr Field kCall[] = {{"type"},
                           {"call_id"},
                           {"name"},
                           {"arguments"},
                           {"id", kHarmless},
                           {"status", kHarmless},
                           {"namespace", kHarmless, {}, "names are told apart without"}};
constexpr Field kOutput[] = {{"type"}, {"call_id"}, {"output"}, {"id", kHarmless}, {"status", kHarmless}};
constexpr Field kReasoning[] = {{"type"},          {"summary"},
                                {"content"},       {"encrypted_content", kHarmless},
                                {"id", kHarmless}, {"status", kHarmless}};
constexpr Field kTool[] = {
    {"type"},
    {"name"},
    {"description"},
    {"parameters"},
    {"strict", Treatment::refused, "false", "nothing makes arguments follow a schema"}};

constexpr Field kNamespace[] = {
    {"type"}, {"name"}, {"description", kHarmless, {}, "each function has its own"}, {"tools"}};

// The texts of a list of parts: input_text, output_text, reasoning_text, summary_text.
std::string text_of(const Json& content, const std::string& path) {
  if (content.is_string()) return content.as_string();
  if (!content.is_array()) wrong_field_type(path, "a string or an array of parts", content);
  std::string all;
  size_t i = 0;
  for (const Json& part : content.as_array()) {
    const std::string here = fmt::format("{}[{}]", path, i++);
    if (!part.is_object()) wrong_field_type(here, "an object", part);
    const FieldReader fields(part, here);
    const std::string& type = fields.require_text("type");
    if (type != "text" && !type.ends_with("_text"))
      throw Error(fmt::format("a part of type '{}'", type.substr(0, 100)), here + ".type",
                  "only text can be given to this model");
    if (!all.empty()) all += "\n\n";
    all += fields.require_text("text");
  }
  return all;
}

// Reasoning and calls belong to an assistant's message, which other items end.
class Items {
 public:
  void read(const Json& item, const std::string& path) {
    if (!item.is_object()) wrong_field_type(path, "an object", item);
    const FieldReader fields(item, path);
    const std::string type = fields.text("type").value_or("message");
    if (type == "message") {
      message(item, fields, path);
    } else if (type == "function_call") {
      check_fields(item, kCall, path);
      calls_.push_back(JsonObject{{"id", fields.require_text("call_id")},
                                  {"type", "function"},
                                  {"function", JsonObject{{"name", fields.require_text("name")},
                                                          {"arguments", fields.require_text("arguments")}}}});
    } else if (type == "function_call_output") {
      check_fields(item, kOutput, path);
      end_answer();
      messages_.push_back(JsonObject{{"role", "tool"},
                                     {"tool_call_id", fields.require_text("call_id")},
                                     {"content", text_of(fields.require("output"), fields.path("output"))}});
    } else if (type == "reasoning") {
      check_fields(item, kReasoning, path);
      if (has_content_) end_answer();
      if (const Json* content = fields.find("content"))
        reasoning_ += text_of(*content, fields.path("content"));
    } else {
      throw Error(fmt::format("an item of type '{}'", type.substr(0, 100)), path + ".type",
                  "message, function_call, function_call_output and reasoning can be given to this model");
    }
  }

  JsonArray take() {
    end_answer();
    return std::move(messages_);
  }

 private:
  void message(const Json& item, const FieldReader& fields, const std::string& path) {
    check_fields(item, kMessage, path);
    const std::string& role = fields.require_text("role");
    std::string text = text_of(fields.require("content"), fields.path("content"));
    if (role != "assistant" || has_content_ || !calls_.empty()) end_answer();
    if (role == "assistant") {
      content_ = std::move(text);
      has_content_ = true;
    } else {
      messages_.push_back(JsonObject{{"role", role}, {"content", std::move(text)}});
    }
  }

  void end_answer() {
    if (has_content_ || !calls_.empty()) {
      Json answer = JsonObject{{"role", "assistant"}, {"content", content_}};
      if (!reasoning_.empty()) answer.set("reasoning_content", reasoning_);
      if (!calls_.empty()) answer.set("tool_calls", std::exchange(calls_, {}));
      messages_.push_back(std::move(answer));
    }
    content_.clear();
    reasoning_.clear();
    has_content_ = false;
  }

  JsonArray messages_, calls_;
  std::string content_, reasoning_;
  bool has_content_ = false;
};

// Functions, and namespaces of functions.
class Tools {
 public:
  void read(const Json& tool, const std::string& path, const std::string& within = {}) {
    if (!tool.is_object()) wrong_field_type(path, "an object", tool);
    const FieldReader fields(tool, path);
    const std::string& type = fields.require_text("type");
    if (type == "namespace" && within.empty()) {
      check_fields(tool, kNamespace, path);
      fields.require("tools");
      size_t i = 0;
      for (const Json& one : *fields.array("tools"))
        read(one, fmt::format("{}.tools[{}]", path, i++), fields.require_text("name"));
      return;
    }
    if (type != "function")
      throw Error(fmt::format("a tool of type '{}'", type.substr(0, 100)), path + ".type",
                  "functions alone are supported");
    check_fields(tool, kTool, path);
    const std::string& name = fields.require_text("name");
    if (!made_.namespaces.emplace(name, within).second)
      throw Error(fmt::format("a second tool '{}'", name.substr(0, 100)), path + ".name");
    Json function = JsonObject{{"name", name}};
    if (const auto description = fields.text("description")) function.set("description", *description);
    if (const Json* parameters = fields.object("parameters")) function.set("parameters", *parameters);
    functions_.push_back(JsonObject{{"type", "function"}, {"function", std::move(function)}});
  }

  ResponseTools take() {
    if (!functions_.empty()) made_.functions = std::move(functions_);
    return std::move(made_);
  }

 private:
  JsonArray functions_;
  ResponseTools made_;
};

}  // namespace

JsonArray read_input(const Json& input) {
  if (input.is_string()) return {JsonObject{{"role", "user"}, {"content", input.as_string()}}};
  if (!input.is_array()) wrong_field_type("input", "a string or an array of items", input);
  Items items;
  size_t i = 0;
  for (const Json& item : input.as_array()) items.read(item, fmt::format("input[{}]", i++));
  return items.take();
}

ResponseTools read_response_tools(const JsonArray& tools) {
  Tools all;
  size_t i = 0;
  for (const Json& tool : tools) all.read(tool, fmt::format("tools[{}]", i++));
  return all.take();
}

}  // namespace minke
