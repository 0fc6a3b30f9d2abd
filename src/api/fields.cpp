#include "api/fields.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minke {
namespace {

std::string joined(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

}  // namespace

void wrong_field_type(const std::string& path, std::string_view expected, const Json& found) {
  throw Error(fmt::format("expected {}, found {}", expected, found.type_name()), path);
}

void check_fields(const Json& object, std::span<const Field> table, std::string_view path) {
  if (!object.is_object())
    wrong_field_type(path.empty() ? "request" : std::string(path), "an object", object);
  for (const auto& [name, value] : object.as_object()) {
    if (value.is_null()) continue;
    const auto row = std::ranges::find_if(table, [&](const Field& f) { return f.name == name; });
    if (row == table.end())
      throw Error("is not known here", joined(path, name.substr(0, 100)),
                  "fields that might change the answer are not passed over");
    if (row->treatment != Treatment::refused) continue;
    if (!row->neutral.empty() && parse_json(row->neutral) == value) continue;
    throw Error("is not supported", joined(path, name), std::string(row->note));
  }
}

std::string FieldReader::path(std::string_view name) const { return joined(path_, name); }

const Json* FieldReader::find(std::string_view name) const {
  const Json* member = object_.find(name);
  return member && !member->is_null() ? member : nullptr;
}

const Json& FieldReader::require(std::string_view name) const {
  const Json* member = find(name);
  if (!member) throw Error("missing", path(name));
  return *member;
}

std::optional<bool> FieldReader::flag(std::string_view name) const {
  const Json* member = find(name);
  if (!member) return std::nullopt;
  if (!member->is_bool()) wrong_field_type(path(name), "true or false", *member);
  return member->as_bool();
}

std::optional<int64_t> FieldReader::integer(std::string_view name, int64_t least, int64_t most) const {
  const Json* member = find(name);
  if (!member) return std::nullopt;
  if (!member->is_number()) wrong_field_type(path(name), "an integer", *member);
  int64_t value = 0;
  bool fits = true;  // into 64 bits
  try {
    value = member->as_int();
  } catch (const Error&) {
    fits = std::abs(member->as_double()) < 9.2e18;
    if (fits) throw Error("is not an integer", path(name));
  }
  if (!fits || value < least || value > most)
    throw Error(fmt::format("{} is not between {} and {}", to_string(*member), least, most), path(name));
  return value;
}

std::optional<double> FieldReader::number(std::string_view name, double least, double most) const {
  const Json* member = find(name);
  if (!member) return std::nullopt;
  if (!member->is_number()) wrong_field_type(path(name), "a number", *member);
  const double value = member->as_double();
  if (!(value >= least && value <= most))
    throw Error(fmt::format("{} is not between {} and {}", to_string(*member), least, most), path(name));
  return value;
}

std::optional<std::string> FieldReader::text(std::string_view name) const {
  const Json* member = find(name);
  if (!member) return std::nullopt;
  if (!member->is_string()) wrong_field_type(path(name), "a string", *member);
  return member->as_string();
}

const std::string& FieldReader::require_text(std::string_view name) const {
  const Json& member = require(name);
  if (!member.is_string()) wrong_field_type(path(name), "a string", member);
  return member.as_string();
}

const JsonArray* FieldReader::array(std::string_view name) const {
  const Json* member = find(name);
  if (member && !member->is_array()) wrong_field_type(path(name), "an array", *member);
  return member ? &member->as_array() : nullptr;
}

const Json* FieldReader::object(std::string_view name) const {
  const Json* member = find(name);
  if (member && !member->is_object()) wrong_field_type(path(name), "an object", *member);
  return member;
}

}  // namespace minke
