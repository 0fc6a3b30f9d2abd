#include "model/fields.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace minke {
namespace {

constexpr const char* kUnknownHelp = "--allow-field {} loads the model as if it were not there";

template <typename T>
std::string bounds(T value, T least, T most) {
  if (value < least) return fmt::format("{} is too small: at least {} is expected", value, least);
  return fmt::format("{} is too large: at most {} is expected", value, most);
}

}  // namespace

// ---- config.json

JsonFields::JsonFields(const Json& object, std::string where, const std::set<std::string>& allowed)
    : object_(object), where_(std::move(where)), allowed_(allowed) {
  if (!object.is_object())
    throw Error(fmt::format("expected an object, found {}", object.type_name()), where_);
}

JsonFields JsonFields::inside(std::string_view key, const Json& object) const {
  return {object, fmt::format("{}: {}", where_, key), allowed_};
}

void JsonFields::wrong(std::string_view key, std::string what) const {
  throw Error(std::move(what), fmt::format("{}: field '{}'", where_, key));
}

void JsonFields::missing(std::string_view key) const {
  throw Error(fmt::format("field '{}' is missing", key), where_, "is this the model's own config.json?");
}

const Json* JsonFields::value(std::string_view key) {
  known_.emplace(key);
  const Json* v = object_.find(key);
  return v && !v->is_null() ? v : nullptr;
}

std::optional<int> JsonFields::integer(std::string_view key, int64_t least, int64_t most) {
  const Json* v = value(key);
  if (!v) return std::nullopt;
  const bool whole = v->is_int() || (v->is_number() && std::floor(v->as_double()) == v->as_double());
  if (!whole || std::abs(v->as_double()) > 9e15)
    wrong(key, fmt::format("{} is not an integer", to_string(*v)));
  const int64_t n = v->as_int();
  if (n < least || n > most) wrong(key, bounds(n, least, most));
  return static_cast<int>(n);
}

std::optional<double> JsonFields::number(std::string_view key, double least, double most) {
  const Json* v = value(key);
  if (!v) return std::nullopt;
  if (!v->is_number()) wrong(key, fmt::format("expected a number, found {}", v->type_name()));
  const double n = v->as_double();
  if (!(n >= least && n <= most)) wrong(key, bounds(n, least, most));
  return n;
}

std::optional<bool> JsonFields::boolean(std::string_view key) {
  const Json* v = value(key);
  if (!v) return std::nullopt;
  if (!v->is_bool()) wrong(key, fmt::format("expected true or false, found {}", to_string(*v)));
  return v->as_bool();
}

std::optional<std::string> JsonFields::string(std::string_view key) {
  const Json* v = value(key);
  if (!v) return std::nullopt;
  if (!v->is_string()) wrong(key, fmt::format("expected a string, found {}", v->type_name()));
  return v->as_string();
}

int JsonFields::need(std::string_view key, int64_t least, int64_t most) {
  if (const auto n = integer(key, least, most)) return *n;
  missing(key);
}

double JsonFields::need_number(std::string_view key, double least, double most) {
  if (const auto n = number(key, least, most)) return *n;
  missing(key);
}

void JsonFields::ignore(std::initializer_list<std::string_view> keys) {
  for (const auto key : keys) known_.emplace(key);
}

void JsonFields::only(std::string_view key, const Json& wanted) {
  const Json* v = value(key);
  if (!v || *v == wanted) return;
  if (v->is_number() && wanted.is_number() && v->as_double() == wanted.as_double()) return;
  wrong(key, fmt::format("{} is not supported, only {} is", to_string(*v), to_string(wanted)));
}

void JsonFields::finish() const {
  for (const auto& [key, v] : object_.as_object()) {
    if (known_.contains(key) || allowed_.contains(key)) continue;
    throw Error("unknown field: it may change what the model computes",
                fmt::format("{}: field '{}'", where_, key), fmt::format(fmt::runtime(kUnknownHelp), key));
  }
}

// ---- GGUF

GgufFields::GgufFields(const Gguf& gguf, std::string prefix) : gguf_(gguf), prefix_(std::move(prefix)) {}

void GgufFields::wrong(std::string_view key, std::string what) const {
  throw Error(std::move(what), fmt::format("{}: key '{}.{}'", gguf_.path().string(), prefix_, key));
}

std::optional<int> GgufFields::integer(std::string_view key, int64_t least, int64_t most) {
  const auto n = gguf_.integer(full(key));
  if (n && (*n < least || *n > most)) wrong(key, bounds(*n, least, most));
  return n ? std::optional<int>(static_cast<int>(*n)) : std::nullopt;
}

std::optional<double> GgufFields::number(std::string_view key, double least, double most) {
  auto n = gguf_.number(full(key));
  if (n && gguf_.find(full(key))->type == GgufType::f32) n = decimal(static_cast<float>(*n));
  if (n && !(*n >= least && *n <= most)) wrong(key, bounds(*n, least, most));
  return n;
}

std::optional<bool> GgufFields::boolean(std::string_view key) { return gguf_.boolean(full(key)); }

std::optional<std::string> GgufFields::string(std::string_view key) {
  const auto s = gguf_.string(full(key));
  return s ? std::optional<std::string>(*s) : std::nullopt;
}

std::optional<std::vector<int64_t>> GgufFields::integers(std::string_view key) {
  return gguf_.integers(full(key));
}

int GgufFields::need(std::string_view key, int64_t least, int64_t most) {
  if (const auto n = integer(key, least, most)) return *n;
  wrong(key, "is missing");
}

double GgufFields::need_number(std::string_view key, double least, double most) {
  if (const auto n = number(key, least, most)) return *n;
  wrong(key, "is missing");
}

void GgufFields::ignore(std::initializer_list<std::string_view> keys) {
  for (const auto key : keys) full(key);
}

void GgufFields::only(std::string_view key, int64_t wanted) {
  const auto n = integer(key, INT64_MIN, INT64_MAX);
  if (n && *n != wanted) wrong(key, fmt::format("{} is not supported, only {} is", *n, wanted));
}

void GgufFields::finish(const std::set<std::string>& allowed) const {
  const std::string start = prefix_ + ".";
  for (const auto& [key, v] : gguf_.metadata()) {
    if (!key.starts_with(start) || known_.contains(key) || allowed.contains(key)) continue;
    throw Error("unknown key: it may change what the model computes",
                fmt::format("{}: key '{}'", gguf_.path().string(), key),
                fmt::format(fmt::runtime(kUnknownHelp), key));
  }
}

// ---- GGUF, written

void GgufKeys::count(std::string_view key, int64_t n) {
  MINKE_CHECK(n >= 0 && n <= UINT32_MAX, "{} {}", key, n);
  header_.add(fmt::format("{}.{}", prefix_, key), {GgufType::u32, static_cast<uint64_t>(n)});
}
void GgufKeys::number(std::string_view key, double n) {
  header_.add(fmt::format("{}.{}", prefix_, key), {GgufType::f32, n});
}
void GgufKeys::flag(std::string_view key, bool value) {
  header_.add(fmt::format("{}.{}", prefix_, key), {GgufType::boolean, value});
}
void GgufKeys::text(std::string_view key, std::string_view text) {
  header_.add(fmt::format("{}.{}", prefix_, key), {GgufType::string, text});
}
void GgufKeys::integers(std::string_view key, std::span<const int32_t> values) {
  header_.add(fmt::format("{}.{}", prefix_, key), values);
}

double decimal(float rounded, int power) {
  if (!std::isfinite(rounded)) return rounded;
  char text[64];
  const auto end = std::to_chars(text, text + 48, rounded, std::chars_format::scientific).ptr;
  const std::string_view digits(text, static_cast<size_t>(end - text));
  const size_t e = digits.find('e');
  const int exponent = std::atoi(std::string(digits.substr(e + 1)).c_str()) + power;
  return std::strtod(fmt::format("{}e{}", digits.substr(0, e), exponent).c_str(), nullptr);
}

}  // namespace minke
