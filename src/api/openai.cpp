#include "api/openai.h"

#include <charconv>
#include <ctime>

#include "base/error.h"

namespace minke {
namespace {

constexpr double kMostBias = 100;
constexpr size_t kMostBiases = 4096;

const char* type_of(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::authentication: return "authentication_error";
    case Fault::Kind::permission: return "permission_error";
    case Fault::Kind::not_found: return "not_found_error";
    case Fault::Kind::busy: return "rate_limit_error";
    case Fault::Kind::internal:
    case Fault::Kind::unavailable: return "server_error";
    default: return "invalid_request_error";
  }
}

std::vector<std::pair<Token, float>> read_biases(const FieldReader& fields) {
  std::vector<std::pair<Token, float>> biases;
  const Json* object = fields.object("logit_bias");
  if (!object) return biases;
  if (object->as_object().size() > kMostBiases)
    throw Error(fmt::format("more than {} tokens", kMostBiases), "logit_bias");
  const FieldReader entries(*object, "logit_bias");
  for (const auto& [key, value] : object->as_object()) {
    Token token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size())
      throw Error(fmt::format("'{}' is not the id of a token", key.substr(0, 40)), "logit_bias");
    if (const auto bias = entries.number(key, -kMostBias, kMostBias))
      biases.emplace_back(token, static_cast<float>(*bias));
  }
  return biases;
}

}  // namespace

int64_t unix_time() { return static_cast<int64_t>(std::time(nullptr)); }

std::vector<std::string> read_stop(const FieldReader& fields, std::string_view name) {
  const Json* stop = fields.find(name);
  std::vector<std::string> all;
  if (!stop) return all;
  const auto add = [&](const Json& json, const std::string& path) {
    if (!json.is_string()) wrong_field_type(path, "a string", json);
    if (json.as_string().empty()) throw Error("a stop string is empty", path);
    if (json.as_string().size() > kMostStopBytes)
      throw Error(fmt::format("longer than {} bytes", kMostStopBytes), path);
    all.push_back(json.as_string());
  };
  if (!stop->is_array()) {
    add(*stop, fields.path(name));
    return all;
  }
  if (stop->as_array().size() > kMostStops)
    throw Error(fmt::format("{} stop strings, and at most {} are taken", stop->as_array().size(), kMostStops),
                fields.path(name));
  for (const Json& entry : stop->as_array()) add(entry, fmt::format("{}[{}]", fields.path(name), all.size()));
  return all;
}

void read_sampling(const FieldReader& fields, CompletionRequest& request) {
  SamplingWishes& s = request.sampling;
  const auto number = [&](std::string_view name, double least, double most) -> std::optional<float> {
    const auto value = fields.number(name, least, most);
    return value ? std::optional<float>(static_cast<float>(*value)) : std::nullopt;
  };
  s.temperature = number("temperature", 0, 100);
  s.top_p = number("top_p", 0, 1);
  s.min_p = number("min_p", 0, 1);
  s.typical_p = number("typical_p", 0, 1);
  s.repetition_penalty = number("repetition_penalty", 0.01, 100);
  s.presence_penalty = number("presence_penalty", -100, 100);
  s.frequency_penalty = number("frequency_penalty", -100, 100);
  if (const auto k = fields.integer("top_k", -1, INT32_MAX))
    s.top_k = static_cast<int>(std::max<int64_t>(*k, 0));
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX)) s.seed = static_cast<uint64_t>(*seed);
  s.logit_bias = read_biases(fields);
  if (const auto n = fields.integer("n", 1, kMostChoices)) request.n = static_cast<int>(*n);
  request.stop = read_stop(fields, "stop");
  if (const JsonArray* ids = fields.array("stop_token_ids")) {
    if (ids->size() > kMostStops)
      throw Error(fmt::format("more than {} tokens", kMostStops), "stop_token_ids");
    for (const Json& id : *ids) {
      if (!id.is_int() || id.as_int() < 0 || id.as_int() > INT32_MAX)
        throw Error("holds what is not the id of a token", "stop_token_ids");
      request.stop_tokens.push_back(static_cast<Token>(id.as_int()));
    }
  }
  request.ignore_end = fields.flag("ignore_eos").value_or(false);
  request.cache_salt = fields.text("cache_salt").value_or("");
}

ToolChoice read_tool_choice(const FieldReader& fields, std::string_view wrapped) {
  const Json* choice = fields.find("tool_choice");
  if (!choice) return {};
  if (choice->is_string()) {
    const std::string& word = choice->as_string();
    if (word == "auto") return {};
    if (word == "none") return {ToolChoice::Kind::none};
    if (word == "required") return {ToolChoice::Kind::required};
    throw Error(fmt::format("unknown choice '{}'", word.substr(0, 100)), "tool_choice",
                "'auto', 'none', 'required' or a function");
  }
  const FieldReader object(*choice, "tool_choice");
  if (!choice->is_object()) wrong_field_type("tool_choice", "a string or an object", *choice);
  if (object.require_text("type") != "function")
    throw Error("only a choice of type 'function' is supported", "tool_choice.type");
  if (wrapped.empty()) return {ToolChoice::Kind::named, object.require_text("name")};
  const Json* function = object.object(wrapped);
  if (!function) throw Error("missing", object.path(wrapped));
  return {ToolChoice::Kind::named, FieldReader(*function, object.path(wrapped)).require_text("name")};
}

void refuse_strict(const Json& function, const std::string& path) {
  if (FieldReader(function, path).flag("strict").value_or(false))
    throw Error("is not supported", path + ".strict",
                "arguments come as a JSON object, but nothing makes them follow a schema");
}

Json openai_usage(const Usage& usage) {
  return JsonObject{{"prompt_tokens", usage.prompt_tokens},
                    {"completion_tokens", usage.output_tokens},
                    {"total_tokens", usage.prompt_tokens + usage.output_tokens},
                    {"prompt_tokens_details", JsonObject{{"cached_tokens", usage.cached_tokens}}},
                    {"completion_tokens_details", JsonObject{{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json openai_fault(const Fault& fault) {
  const auto text = [](const std::string& s) { return s.empty() ? Json() : Json(s); };
  return JsonObject{{"error", JsonObject{{"message", fault.message},
                                         {"type", type_of(fault.kind)},
                                         {"param", text(fault.field)},
                                         {"code", text(fault.code)}}}};
}

}  // namespace minke
