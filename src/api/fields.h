#pragma once
// The fields of a request: a table says of each what Minke does with it; a field in no table is refused.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace minke {

enum class Treatment : uint8_t {
  honoured,
  harmless,  // accepted and passed over: the answer would be the same
  refused,   // where it has another value than the neutral one: the answer would not be what was asked for
};

struct Field {
  std::string_view name;
  Treatment treatment = Treatment::honoured;
  std::string_view neutral = {};  // JSON: a value of a refused field that asks for nothing
  std::string_view note = {};     // why it is refused, or what is done instead
};

// Throws Error naming the field: no object, a field the table does not have or refuses. A null is no value.
void check_fields(const Json& object, std::span<const Field> table, std::string_view path = {});

// Members of an object, each of the type that is asked for, or nothing where it is absent or null. All throw
// Error whose subject is the path of the member.
class FieldReader {
 public:
  explicit FieldReader(const Json& object, std::string path = {}) : object_(object), path_(std::move(path)) {}

  const Json* find(std::string_view name) const;
  const Json& require(std::string_view name) const;
  std::optional<bool> flag(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most) const;
  std::optional<double> number(std::string_view name, double least, double most) const;
  std::optional<std::string> text(std::string_view name) const;
  const std::string& require_text(std::string_view name) const;
  const JsonArray* array(std::string_view name) const;
  const Json* object(std::string_view name) const;
  std::string path(std::string_view name) const;

 private:
  const Json& object_;
  std::string path_;
};

[[noreturn]] void wrong_field_type(const std::string& path, std::string_view expected, const Json& found);

}  // namespace minke
