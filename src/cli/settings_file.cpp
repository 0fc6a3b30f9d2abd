#include "cli/settings_file.h"

#include <toml++/toml.h>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/input.h"

namespace minke {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;

Json to_json(const toml::node& node, const std::string& file) {
  if (const auto* table = node.as_table()) {
    Json object = JsonObject{};
    for (const auto& [key, value] : *table) object.set(key.str(), to_json(value, file));
    return object;
  }
  if (const auto* array = node.as_array()) {
    JsonArray list;
    for (const toml::node& entry : *array) list.push_back(to_json(entry, file));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  throw Error("no setting is a date or a time", fmt::format("{}:{}", file, node.source().begin.line));
}

}  // namespace

Json read_settings_file(const fs::path& path) {
  Json settings;
  if (path.extension() == ".toml") {
    const std::string text = read_file(path, kMostBytes);
    try {
      settings = to_json(toml::parse(text), path.string());
    } catch (const toml::parse_error& e) {
      throw Error(std::string(e.description()), fmt::format("{}:{}", path.string(), e.source().begin.line));
    }
  } else {
    settings = read_json_file(path);
  }
  if (!settings.is_object()) throw Error("is no JSON object", path.string());
  return settings;
}

}  // namespace minke
