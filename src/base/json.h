#pragma once
// JSON as a value. Parsing is bounded in depth and size, keeps the order of keys, and refuses repeated ones.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace minke {

class Json;
using JsonArray = std::vector<Json>;
using JsonMember = std::pair<std::string, Json>;
using JsonObject = std::vector<JsonMember>;  // in the order of the text

class Json {
 public:
  using Value =
      std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, JsonArray, JsonObject>;

  Json() : value_(nullptr) {}
  Json(std::nullptr_t) : value_(nullptr) {}
  Json(bool v) : value_(v) {}
  Json(int v) : value_(int64_t{v}) {}
  Json(int64_t v) : value_(v) {}
  Json(uint64_t v) {  // kept unsigned only where int64 cannot hold it
    if (v <= uint64_t{INT64_MAX})
      value_ = static_cast<int64_t>(v);
    else
      value_ = v;
  }
  Json(double v) : value_(v) {}
  Json(const char* v) : value_(std::string(v)) {}
  Json(std::string_view v) : value_(std::string(v)) {}
  Json(std::string v) : value_(std::move(v)) {}
  Json(JsonArray v) : value_(std::move(v)) {}
  Json(JsonObject v) : value_(std::move(v)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }  // fits int64
  bool is_number() const;
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<JsonArray>(value_); }
  bool is_object() const { return std::holds_alternative<JsonObject>(value_); }
  const char* type_name() const;  // "null", "bool", "integer", "number", "string", "array", "object"

  // Each throws Error naming the expected and the actual type.
  bool as_bool() const;
  int64_t as_int() const;    // also a double or uint64 with an integral value that int64 holds
  double as_double() const;  // any number
  const std::string& as_string() const;
  const JsonArray& as_array() const;
  const JsonObject& as_object() const;
  JsonArray& as_array();
  JsonObject& as_object();

  // Member of an object: find returns null where the key is absent (or this is no object); at throws Error
  // naming the key.
  const Json* find(std::string_view key) const;
  Json* find(std::string_view key);
  const Json& at(std::string_view key) const;
  // Sets or adds a member of an object (null becomes an empty object first).
  Json& set(std::string_view key, Json value);

  const Value& value() const { return value_; }
  bool operator==(const Json&) const = default;

 private:
  Value value_;
};

struct JsonLimits {
  size_t max_depth = 64;
  size_t max_bytes = size_t{256} << 20;
  bool reject_repeated_keys = true;  // else the last one wins
};

// Throws Error with the byte offset. The text must be one complete UTF-8 JSON value; NaN and Infinity are not
// JSON.
Json parse_json(std::string_view text, const JsonLimits& limits = {});

// Compact ("a":1,"b":2) or indented. Non-ASCII as it is; doubles in their shortest exact form; NaN and
// infinities throw.
std::string to_string(const Json& json, int indent = -1);

}  // namespace minke
