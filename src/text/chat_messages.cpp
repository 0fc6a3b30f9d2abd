#include "text/chat_messages.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr std::string_view kRoles[] = {"system", "developer", "user",   "assistant",
                                       "tool",   "function",  "ipython"};
constexpr std::string_view kReasoning[] = {"reasoning_content", "thinking", "reasoning"};

[[noreturn]] void wrong_type(const std::string& path, std::string_view expected, const Json& found) {
  throw Error(fmt::format("expected {}, found {}", expected, found.type_name()), path);
}

void expect_object(const Json& json, const std::string& path) {
  if (!json.is_object()) wrong_type(path, "an object", json);
}

// The member, which must be a string.
const std::string& expect_string(const Json& object, std::string_view key, const std::string& path) {
  const std::string member_path = fmt::format("{}.{}", path, key);
  const Json* member = object.find(key);
  if (!member) throw Error("missing", member_path);
  if (!member->is_string()) wrong_type(member_path, "a string", *member);
  return member->as_string();
}

void allow_string(const Json& object, std::string_view key, const std::string& path) {
  const Json* member = object.find(key);
  if (member && !member->is_null()) expect_string(object, key, path);
}

void check_content(const Json& content, const std::string& path) {
  if (content.is_string()) return;
  if (!content.is_array()) wrong_type(path, "a string or a list of text parts", content);
  for (size_t i = 0; i < content.as_array().size(); ++i) {
    const Json& part = content.as_array()[i];
    const std::string part_path = fmt::format("{}[{}]", path, i);
    expect_object(part, part_path);
    if (expect_string(part, "type", part_path) != "text")
      throw Error(fmt::format("a part of type '{}'", part.at("type").as_string()), part_path + ".type",
                  "only parts of type 'text' can be rendered");
    expect_string(part, "text", part_path);
  }
}

void check_call(const Json& call, const std::string& path) {
  expect_object(call, path);
  allow_string(call, "id", path);
  if (const Json* type = call.find("type"); type && !(type->is_string() && type->as_string() == "function"))
    throw Error("the type must be 'function'", path + ".type");
  const Json* function = call.find("function");
  if (!function) throw Error("missing", path + ".function");
  expect_object(*function, path + ".function");
  if (expect_string(*function, "name", path + ".function").empty())
    throw Error("the name is empty", path + ".function.name");
  const Json* arguments = function->find("arguments");
  if (!arguments)
    throw Error("missing", path + ".function.arguments", "a function without parameters gets {}");
  if (!arguments->is_object() && !arguments->is_string())
    wrong_type(path + ".function.arguments", "an object or JSON as text", *arguments);
}

// Whether there are any.
bool check_calls(const Json& message, const std::string& path) {
  const Json* calls = message.find("tool_calls");
  if (!calls || calls->is_null()) return false;
  if (!calls->is_array()) wrong_type(path + ".tool_calls", "an array", *calls);
  const JsonArray& all = calls->as_array();
  for (size_t i = 0; i < all.size(); ++i) check_call(all[i], fmt::format("{}.tool_calls[{}]", path, i));
  return !all.empty();
}

void check_message(const Json& message, const std::string& path) {
  expect_object(message, path);
  const std::string& role = expect_string(message, "role", path);
  if (std::find(std::begin(kRoles), std::end(kRoles), role) == std::end(kRoles))
    throw Error(fmt::format("unknown role '{}'", role), path + ".role",
                fmt::format("known are {}", fmt::join(kRoles, ", ")));
  const bool calls = check_calls(message, path);
  if (calls && role != "assistant") throw Error("only an assistant calls tools", path + ".tool_calls");
  const Json* content = message.find("content");
  if (content && !content->is_null())
    check_content(*content, path + ".content");
  else if (!calls)
    throw Error(content ? "null" : "missing", path + ".content", "an empty text is \"\"");
  for (const std::string_view key : kReasoning) allow_string(message, key, path);
  allow_string(message, "name", path);
  allow_string(message, "tool_call_id", path);
}

}  // namespace

void check_messages(const Json& messages) {
  if (!messages.is_array()) wrong_type("messages", "an array", messages);
  const JsonArray& all = messages.as_array();
  if (all.empty()) throw Error("there is no message", "messages");
  for (size_t i = 0; i < all.size(); ++i) check_message(all[i], fmt::format("messages[{}]", i));
}

void check_tools(const Json& tools) {
  if (tools.is_null()) return;
  if (!tools.is_array()) wrong_type("tools", "an array", tools);
  for (size_t i = 0; i < tools.as_array().size(); ++i) {
    const Json& tool = tools.as_array()[i];
    const std::string path = fmt::format("tools[{}]", i);
    expect_object(tool, path);
    if (expect_string(tool, "type", path) != "function")
      throw Error("the type must be 'function'", path + ".type");
    const Json* function = tool.find("function");
    if (!function) throw Error("missing", path + ".function");
    expect_object(*function, path + ".function");
    if (expect_string(*function, "name", path + ".function").empty())
      throw Error("the name is empty", path + ".function.name");
    allow_string(*function, "description", path + ".function");
    const Json* parameters = function->find("parameters");
    if (parameters && !parameters->is_null()) expect_object(*parameters, path + ".function.parameters");
  }
}

ChatPrompt read_chat_prompt(const Json& json) {
  ChatPrompt prompt;
  if (json.is_array()) {
    prompt.messages = json;
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.as_object()) {
      if (key == "messages") {
        prompt.messages = value;
      } else if (key == "tools") {
        prompt.tools = value;
      } else if (key == "documents") {
        if (!value.is_null() && !value.is_array()) wrong_type(key, "an array", value);
        prompt.documents = value;
      } else if (key == "add_generation_prompt") {
        if (!value.is_bool()) wrong_type(key, "true or false", value);
        prompt.add_generation_prompt = value.as_bool();
      } else if (key == "chat_template_kwargs") {
        expect_object(value, key);
        prompt.kwargs = value;
      } else {
        throw Error("unknown key", key,
                    "known are messages, tools, documents, add_generation_prompt, chat_template_kwargs");
      }
    }
    if (!json.find("messages")) throw Error("missing", "messages");
  } else {
    wrong_type("", "an array of messages or an object with 'messages'", json);
  }
  check_messages(prompt.messages);
  check_tools(prompt.tools);
  return prompt;
}

JsonArray like_transformers(const JsonArray& messages) {
  JsonArray out;
  for (const Json& message : messages) {
    if (!message.is_object()) {
      out.push_back(message);
      continue;
    }
    JsonObject kept;
    for (const JsonMember& member : message.as_object())
      if (!member.second.is_null()) kept.push_back(member);
    Json changed(std::move(kept));
    const Json* reasoning = nullptr;
    for (const std::string_view key : kReasoning)
      if (!reasoning) reasoning = changed.find(key);
    if (reasoning) {
      const Json copy = *reasoning;
      for (const std::string_view key : kReasoning)
        if (!changed.find(key)) changed.set(key, copy);
    }
    out.push_back(std::move(changed));
  }
  return out;
}

}  // namespace minke
