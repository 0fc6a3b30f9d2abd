#include "serve/openapi.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace minke {
namespace {

constexpr const char* kTreatments[] = {"honoured", "accepted and passed over", "refused"};

Json body_schema(std::span<const Field> fields) {
  Json properties = JsonObject{};
  for (const Field& field : fields) {
    std::string text = kTreatments[static_cast<size_t>(field.treatment)];
    if (!field.neutral.empty()) text += fmt::format(", unless it is {}", field.neutral);
    if (!field.note.empty()) text += fmt::format(": {}", field.note);
    properties.set(field.name, JsonObject{{"description", text}});
  }
  const Json schema =
      JsonObject{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  return JsonObject{{"required", true},
                    {"content", JsonObject{{"application/json", JsonObject{{"schema", schema}}}}}};
}

Json parameters(std::string_view path) {
  JsonArray list;
  for (size_t at = path.find('{'); at != path.npos; at = path.find('{', at + 1))
    list.push_back(JsonObject{{"name", path.substr(at + 1, path.find('}', at) - at - 1)},
                              {"in", "path"},
                              {"required", true},
                              {"schema", JsonObject{{"type", "string"}}}});
  return list;
}

Json operation(const Route& route) {
  Json json = JsonObject{{"summary", route.summary}};
  if (Json list = parameters(route.path); !list.as_array().empty()) json.set("parameters", std::move(list));
  if (!route.fields.empty()) json.set("requestBody", body_schema(route.fields));
  json.set("security", route.open ? Json(JsonArray{}) : Json(JsonArray{JsonObject{{"key", JsonArray{}}}}));
  json.set("responses",
           JsonObject{{"200", JsonObject{{"description", "done"}}},
                      {"default", JsonObject{{"description", "a fault, in the dialect's own shape"}}}});
  return json;
}

}  // namespace

Json openapi_document(const Router& router) {
  Json paths = JsonObject{};
  for (const Route& route : router.routes()) {
    std::string method = route.method;
    std::ranges::transform(method, method.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    Json entry = paths.find(route.path) ? *paths.find(route.path) : Json(JsonObject{});
    entry.set(method, operation(route));
    paths.set(route.path, std::move(entry));
  }
  return JsonObject{
      {"openapi", "3.1.0"},
      {"info", JsonObject{{"title", "Minke"}, {"version", "1"}}},
      {"paths", std::move(paths)},
      {"components", JsonObject{{"securitySchemes",
                                 JsonObject{{"key", JsonObject{{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace minke
