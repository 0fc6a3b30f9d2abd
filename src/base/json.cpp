#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <boost/json/basic_parser_impl.hpp>
#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr const char* kTypeNames[] = {"null",   "bool",   "integer", "integer",
                                      "number", "string", "array",   "object"};

[[noreturn]] void wrong_type(const char* expected, const Json& json) {
  throw Error(fmt::format("expected {}, found {}", expected, json.type_name()));
}

// Receives the parser's events and builds the value on a stack of open containers.
class Builder {
 public:
  static constexpr size_t max_object_size = std::numeric_limits<size_t>::max();
  static constexpr size_t max_array_size = max_object_size;
  static constexpr size_t max_key_size = max_object_size;
  static constexpr size_t max_string_size = max_object_size;
  using error_code = boost::json::error_code;
  using string_view = boost::json::string_view;

  bool reject_repeated_keys = true;
  std::string repeated_key;  // set when parsing stopped because of one

  Json take() { return std::move(root_); }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) { return open(Json(JsonObject{})); }
  bool on_object_end(size_t, error_code& ec) {
    if (!settle_keys(stack_.back()->as_object())) {
      ec = boost::json::make_error_code(boost::json::error::syntax);
      return false;
    }
    stack_.pop_back();
    return true;
  }
  bool on_array_begin(error_code&) { return open(Json(JsonArray{})); }
  bool on_array_end(size_t, error_code&) {
    stack_.pop_back();
    return true;
  }
  bool on_key_part(string_view s, size_t, error_code&) { return append(s); }
  bool on_key(string_view s, size_t, error_code&) {
    text_.append(s.data(), s.size());
    stack_.back()->as_object().emplace_back(std::move(text_), Json());
    text_.clear();
    return true;
  }
  bool on_string_part(string_view s, size_t, error_code&) { return append(s); }
  bool on_string(string_view s, size_t, error_code&) {
    text_.append(s.data(), s.size());
    add(Json(std::move(text_)));
    text_.clear();
    return true;
  }
  bool on_number_part(string_view s, error_code&) { return append(s); }
  bool on_int64(int64_t v, string_view, error_code&) { return add_number(Json(v)); }
  bool on_uint64(uint64_t v, string_view, error_code&) { return add_number(Json(v)); }
  // The parser's own value is a little off for numbers of many digits, and infinite for large ones.
  bool on_double(double near, string_view s, error_code& ec) {
    text_.append(s.data(), s.size());
    double exact = near;
    std::from_chars(text_.data(), text_.data() + text_.size(),
                    exact);  // leaves it alone where it is too small
    if (std::isfinite(exact)) return add_number(Json(exact));
    ec = boost::json::make_error_code(boost::json::error::exponent_overflow);
    return false;
  }
  bool on_bool(bool v, error_code&) { return add(Json(v)), true; }
  bool on_null(error_code&) { return add(Json()), true; }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }

 private:
  bool append(string_view s) {
    text_.append(s.data(), s.size());
    return true;
  }
  bool add_number(Json number) {
    text_.clear();
    add(std::move(number));
    return true;
  }
  Json* add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& top = *stack_.back();
    if (top.is_object()) return &(top.as_object().back().second = std::move(value));
    return &top.as_array().emplace_back(std::move(value));
  }
  // Pointers to open containers stay valid: only the innermost one grows.
  bool open(Json container) {
    stack_.push_back(add(std::move(container)));
    return true;
  }
  bool settle_keys(JsonObject& object) {
    std::vector<std::pair<std::string_view, size_t>> keys;
    keys.reserve(object.size());
    for (size_t i = 0; i < object.size(); ++i) keys.emplace_back(object[i].first, i);
    std::sort(keys.begin(), keys.end());
    std::vector<bool> overridden;
    for (size_t i = 0; i + 1 < keys.size(); ++i) {
      if (keys[i].first != keys[i + 1].first) continue;
      if (reject_repeated_keys) {
        repeated_key = keys[i].first;
        return false;
      }
      overridden.resize(object.size());
      overridden[keys[i].second] = true;
    }
    if (overridden.empty()) return true;
    JsonObject kept;
    for (size_t i = 0; i < object.size(); ++i)
      if (!overridden[i]) kept.push_back(std::move(object[i]));
    object = std::move(kept);
    return true;
  }

  Json root_;
  std::vector<Json*> stack_;
  std::string text_;
};

void write_string(std::string& out, std::string_view s) {
  out += '"';
  for (const char c : s) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out += c;
    }
  }
  out += '"';
}

void write(std::string& out, const Json& json, int indent, int depth);

template <typename Container, typename WriteItem>
void write_container(std::string& out, const Container& items, char opening, char closing, int indent,
                     int depth, WriteItem write_item) {
  out += opening;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out += ',';
    if (indent >= 0) out.append(1, '\n').append(static_cast<size_t>(indent * (depth + 1)), ' ');
    write_item(items[i]);
  }
  if (indent >= 0 && !items.empty()) out.append(1, '\n').append(static_cast<size_t>(indent * depth), ' ');
  out += closing;
}

void write(std::string& out, const Json& json, int indent, int depth) {
  const auto& v = json.value();
  if (json.is_null())
    out += "null";
  else if (const auto* b = std::get_if<bool>(&v))
    out += *b ? "true" : "false";
  else if (const auto* i = std::get_if<int64_t>(&v))
    out += fmt::format("{}", *i);
  else if (const auto* u = std::get_if<uint64_t>(&v))
    out += fmt::format("{}", *u);
  else if (const auto* s = std::get_if<std::string>(&v))
    write_string(out, *s);
  else if (const auto* d = std::get_if<double>(&v)) {
    if (!std::isfinite(*d)) throw Error("JSON has no form for NaN or infinity");
    const std::string text = fmt::format("{}", *d);
    out += text;
    if (text.find_first_of(".e") == std::string::npos) out += ".0";
  } else if (json.is_array()) {
    write_container(out, json.as_array(), '[', ']', indent, depth,
                    [&](const Json& item) { write(out, item, indent, depth + 1); });
  } else {
    write_container(out, json.as_object(), '{', '}', indent, depth, [&](const JsonMember& member) {
      write_string(out, member.first);
      out += indent >= 0 ? ": " : ":";
      write(out, member.second, indent, depth + 1);
    });
  }
}

}  // namespace

bool Json::is_number() const { return value_.index() >= 2 && value_.index() <= 4; }
const char* Json::type_name() const { return kTypeNames[value_.index()]; }

bool Json::as_bool() const {
  if (const auto* b = std::get_if<bool>(&value_)) return *b;
  wrong_type("bool", *this);
}

int64_t Json::as_int() const {
  if (const auto* i = std::get_if<int64_t>(&value_)) return *i;
  if (const auto* d = std::get_if<double>(&value_); d && *d == std::floor(*d) && std::abs(*d) < 0x1p63)
    return static_cast<int64_t>(*d);
  if (std::holds_alternative<uint64_t>(value_)) throw Error("integer out of range");
  wrong_type("integer", *this);
}

double Json::as_double() const {
  if (const auto* d = std::get_if<double>(&value_)) return *d;
  if (const auto* i = std::get_if<int64_t>(&value_)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<uint64_t>(&value_)) return static_cast<double>(*u);
  wrong_type("number", *this);
}

const std::string& Json::as_string() const {
  if (const auto* s = std::get_if<std::string>(&value_)) return *s;
  wrong_type("string", *this);
}

const JsonArray& Json::as_array() const {
  if (const auto* a = std::get_if<JsonArray>(&value_)) return *a;
  wrong_type("array", *this);
}

const JsonObject& Json::as_object() const {
  if (const auto* o = std::get_if<JsonObject>(&value_)) return *o;
  wrong_type("object", *this);
}

JsonArray& Json::as_array() { return const_cast<JsonArray&>(std::as_const(*this).as_array()); }
JsonObject& Json::as_object() { return const_cast<JsonObject&>(std::as_const(*this).as_object()); }

const Json* Json::find(std::string_view key) const {
  const auto* object = std::get_if<JsonObject>(&value_);
  if (!object) return nullptr;
  for (const auto& [name, value] : *object)
    if (name == key) return &value;
  return nullptr;
}

Json* Json::find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).find(key)); }

const Json& Json::at(std::string_view key) const {
  as_object();
  if (const Json* value = find(key)) return *value;
  throw Error(fmt::format("missing key '{}'", key));
}

Json& Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = JsonObject{};
  if (Json* present = find(key)) return *present = std::move(value);
  return as_object().emplace_back(std::string(key), std::move(value)).second;
}

Json parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    throw Error(fmt::format("JSON text of {} bytes, at most {} are allowed", text.size(), limits.max_bytes));
  boost::json::parse_options options;
  options.max_depth = limits.max_depth;
  boost::json::basic_parser<Builder> parser(options);
  parser.handler().reject_repeated_keys = limits.reject_repeated_keys;
  boost::json::error_code ec;
  const size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (!parser.handler().repeated_key.empty())
    throw Error(fmt::format("JSON: key '{}' is repeated in the object that ends at byte {}",
                            parser.handler().repeated_key, used));
  if (ec) throw Error(fmt::format("JSON: {} at byte {}", ec.message(), used));
  const size_t rest = text.find_first_not_of(" \t\r\n", used);
  if (rest != std::string_view::npos) throw Error(fmt::format("JSON: extra text at byte {}", rest));
  return parser.handler().take();
}

std::string to_string(const Json& json, int indent) {
  std::string out;
  write(out, json, indent, 0);
  return out;
}

}  // namespace minke
