#include "base/toml.h"

// toml++ takes some of what a text says for granted (that a digit stands behind a date's T), and lets the
// optimiser believe it. Here what it takes for granted is looked at, and is an error where it does not hold.
namespace {
struct Unforeseen {};
}  // namespace
#undef NDEBUG
#define TOML_ASSERT(expression) ((expression) ? void() : throw Unforeseen{})

#include <cmath>
#include <toml++/toml.h>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

Json to_json(const toml::node& node, const std::string& where) {
  const auto wrong = [&](const char* what) {
    return Error(what, fmt::format("{}:{}", where, node.source().begin.line));
  };
  if (const auto* table = node.as_table()) {
    Json object = JsonObject{};
    for (const auto& [key, value] : *table) object.set(key.str(), to_json(value, where));
    return object;
  }
  if (const auto* array = node.as_array()) {
    JsonArray list;
    for (const toml::node& entry : *array) list.push_back(to_json(entry, where));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) {
    if (!std::isfinite(number->get())) throw wrong("numbers are finite here");
    return number->get();
  }
  if (const auto* flag = node.as_boolean()) return flag->get();
  throw wrong("dates and times are no values here");
}

}  // namespace

Json parse_toml(std::string_view text, const std::string& where) {
  try {
    return to_json(toml::parse(text), where);
  } catch (const toml::parse_error& e) {
    throw Error(std::string(e.description()), fmt::format("{}:{}", where, e.source().begin.line));
  } catch (const Unforeseen&) {
    throw Error("is no TOML", where);
  }
}

}  // namespace minke
