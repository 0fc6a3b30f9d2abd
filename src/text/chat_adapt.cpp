#include "text/chat_adapt.h"

#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "text/python_json.h"

namespace minke {
namespace {

using Render = std::function<std::string(const JsonArray&, const Json&)>;
using CallContent = TemplateTraits::CallContent;

constexpr std::string_view kText = "Probing text.";

// None where the template fails.
std::optional<std::string> attempt(const Render& render, const JsonArray& messages,
                                   const Json& tools = nullptr) {
  try {
    return render(messages, tools);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool has(const std::optional<std::string>& rendered, std::string_view text) {
  return rendered && rendered->find(text) != std::string::npos;
}

Json message(std::string_view role, Json content) {
  return JsonObject{{"role", role}, {"content", std::move(content)}};
}

Json text_parts(std::string_view text) {
  return JsonArray{Json(JsonObject{{"type", "text"}, {"text", text}})};
}

void probe_content(const Render& render, TemplateTraits& traits) {
  const auto as_text = attempt(render, {message("user", kText)});
  const auto as_parts = attempt(render, {message("user", text_parts(kText))});
  const bool text = has(as_text, kText), parts = has(as_parts, kText);
  traits.text_content = text || !parts;
  traits.part_content = parts && (!text || *as_text == *as_parts);
}

// A conversation in which a tool is called without a word.
JsonArray conversation_with_call(CallContent content, Json arguments, const TemplateTraits& traits) {
  const auto user = [&](std::string_view role, std::string_view text) {
    return message(role, traits.text_content ? Json(text) : text_parts(text));
  };
  const Json function(JsonObject{{"name", "probed_function"}, {"arguments", std::move(arguments)}});
  const Json call(JsonObject{{"id", "probe0001"}, {"type", "function"}, {"function", function}});
  Json assistant(JsonObject{{"role", "assistant"}});
  if (content == CallContent::null) assistant.set("content", nullptr);
  if (content == CallContent::empty) assistant.set("content", "");
  assistant.set("tool_calls", JsonArray{call});
  Json result = user("tool", "done");
  result.set("tool_call_id", "probe0001");
  result.set("name", "probed_function");
  return {user("user", "go"), assistant, result, user("assistant", "ok"), user("user", "next")};
}

// The key must stand as itself: not inside of JSON in a string, and not as Python prints a dict.
bool renders_call(const Render& render, const JsonArray& messages) {
  const Json parameters(JsonObject{{"type", "object"}, {"properties", Json(JsonObject{})}});
  const Json function(
      JsonObject{{"name", "probed_tool"}, {"description", "A tool."}, {"parameters", parameters}});
  const Json tools(JsonArray{Json(JsonObject{{"type", "function"}, {"function", function}})});
  const auto rendered = attempt(render, messages, tools);
  return has(rendered, "probed_function") && has(rendered, "probed_key") && has(rendered, "probed value") &&
         !has(rendered, "\\\"probed_key") && !has(rendered, "'probed_key'");
}

void probe_calls(const Render& render, TemplateTraits& traits) {
  const Json object(JsonObject{{"probed_key", "probed value"}});
  const Json text(python_json(object));
  for (const CallContent content : {CallContent::absent, CallContent::null, CallContent::empty}) {
    const bool takes_object = renders_call(render, conversation_with_call(content, object, traits));
    const bool takes_text = renders_call(render, conversation_with_call(content, text, traits));
    if (!takes_object && !takes_text) continue;
    traits.object_arguments = takes_object;
    traits.text_arguments = takes_text;
    traits.call_content = content;
    return;
  }
}

void adapt_content(Json& message, const TemplateTraits& traits) {
  Json* content = message.find("content");
  if (!content) return;
  if (content->is_array() && !traits.part_content) {
    std::string joined;
    for (const Json& part : content->as_array()) {
      const Json* text = part.find("text");
      if (!text || !text->is_string()) return;  // a part of another kind is the template's to refuse
      if (&part != &content->as_array().front()) joined += '\n';
      joined += text->as_string();
    }
    *content = Json(std::move(joined));
  } else if (content->is_string() && !traits.text_content) {
    *content = text_parts(content->as_string());
  }
}

void adapt_arguments(Json& arguments, const TemplateTraits& traits, const std::string& path) {
  if (arguments.is_object() && !traits.object_arguments && traits.text_arguments) {
    arguments = Json(python_json(arguments));
  } else if (arguments.is_string() && !traits.text_arguments && traits.object_arguments) {
    Json parsed;
    try {
      parsed = parse_json(arguments.as_string(), {.reject_repeated_keys = false});
    } catch (const Error& e) {
      throw Error(e.happened(), path, "this model's chat template needs the arguments as a JSON object");
    }
    if (!parsed.is_object())
      throw Error(fmt::format("expected a JSON object, found {}", parsed.type_name()), path);
    arguments = std::move(parsed);
  }
}

void adapt_calls(Json& message, const TemplateTraits& traits, const std::string& path) {
  Json* calls = message.find("tool_calls");
  if (!calls || !calls->is_array() || calls->as_array().empty()) return;
  for (size_t i = 0; i < calls->as_array().size(); ++i) {
    Json* function = calls->as_array()[i].find("function");
    Json* arguments = function ? function->find("arguments") : nullptr;
    if (arguments)
      adapt_arguments(*arguments, traits, fmt::format("{}.tool_calls[{}].function.arguments", path, i));
  }
  const Json* content = message.find("content");
  if (content && !content->is_null() && !(content->is_string() && content->as_string().empty())) return;
  auto& members = message.as_object();
  std::erase_if(members, [](const JsonMember& member) { return member.first == "content"; });
  if (traits.call_content == CallContent::null) message.set("content", nullptr);
  if (traits.call_content == CallContent::empty) message.set("content", "");
}

}  // namespace

TemplateTraits probe_template(const Render& render) {
  TemplateTraits traits;
  probe_content(render, traits);
  probe_calls(render, traits);
  const Json instructions = traits.text_content ? Json("Probing orders.") : text_parts("Probing orders.");
  const Json question = traits.text_content ? Json("go") : text_parts("go");
  const auto as_developer = attempt(render, {message("developer", instructions), message("user", question)});
  const auto as_system = attempt(render, {message("system", instructions), message("user", question)});
  traits.developer_role = has(as_developer, "Probing orders.") || !has(as_system, "Probing orders.");
  return traits;
}

JsonArray adapt_messages(const JsonArray& messages, const TemplateTraits& traits) {
  JsonArray adapted = like_transformers(messages);
  for (size_t i = 0; i < adapted.size(); ++i) {
    Json& one = adapted[i];
    if (!one.is_object()) continue;
    adapt_content(one, traits);
    adapt_calls(one, traits, fmt::format("messages[{}]", i));
    const Json* role = one.find("role");
    if (role && *role == Json("developer") && !traits.developer_role) one.set("role", "system");
  }
  return adapted;
}

}  // namespace minke
