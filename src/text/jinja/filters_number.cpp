// Filters that make or change numbers.

#include <cmath>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_methods.h"

namespace minke::jinja {
namespace {

Value absolute(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "abs", {});
  require(subject);
  const auto number = as_number(subject);
  if (!number) throw Error(fmt::format("bad operand type for abs(): '{}'", type_name(subject)));
  if (number->is_real) return Value(std::abs(number->real), subject.given());
  return number->integer < 0 ? negate(subject, true) : Value(number->integer, subject.given());
}

// int(text, base)
std::optional<Int> parse_integer(std::string_view text, int64_t base) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked && (base == marked || base == 0)) {
      base = marked;
      text.remove_prefix(text[2] == '_' ? 3 : 2);
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) throw Error("int() base must be >= 2 and <= 36, or 0");
  const auto digits = without_underscores(text);
  if (!digits || digits->empty()) return std::nullopt;
  Int value = 0;
  for (const char c : *digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, Int{base}, &value) || __builtin_add_overflow(value, Int{digit}, &value))
      throw Error("an integer is beyond 128 bits");
  }
  return negative ? -value : value;
}

std::optional<Int> truncated(double value) {
  if (std::isnan(value)) return std::nullopt;
  if (std::abs(value) >= 0x1p126) throw Error("cannot convert float to integer: it is too large");
  return static_cast<Int>(value);
}

Value integer(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "int", {"default", "base"});
  require(subject);
  std::optional<Int> value;
  if (const Text* text = subject.text()) {
    const Text stripped = strip(*text, nullptr, true, true);
    value = parse_integer(stripped.view(), bound.integer(1, 10));
    if (!value)
      if (const auto real = parse_real(stripped.view()); real && std::isfinite(*real))
        value = truncated(*real);
  } else if (const auto number = as_number(subject)) {
    value = number->is_real ? truncated(number->real) : number->integer;
  }
  if (value) return Value(*value, subject.given());
  return bound.find(0) ? bound.at(0) : Value::integer(0);
}

Value real(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "float", {"default"});
  require(subject);
  std::optional<double> value;
  if (const Text* text = subject.text())
    value = parse_real(strip(*text, nullptr, true, true).view());
  else if (const auto number = as_number(subject))
    value = number->real;
  if (value) return Value(*value, subject.given());
  return bound.find(0) ? bound.at(0) : Value(0.0);
}

// Python's round: the nearest decimal of the exact value, ties to even.
double round_real(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 308) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) {
    return *parse_real(fmt::format("{:.{}f}", value, digits));
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Int round_integer(Int value, int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -37) return 0;
  Int scale = 1;
  for (; digits < 0; ++digits) scale *= 10;
  const Int rest = value % scale, half = scale / 2, base = value - rest;
  const Int magnitude = rest < 0 ? -rest : rest, away = value < 0 ? -scale : scale;
  const bool up = magnitude > half || (magnitude == half && base / scale % 2 != 0);
  Int rounded = base;
  if (up && __builtin_add_overflow(base, away, &rounded)) throw Error("an integer is beyond 128 bits");
  return rounded;
}

Value round(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "round", {"precision", "method"});
  const int64_t digits = bound.integer(0, 0);
  const std::string_view method = bound.find(1) ? bound.text(1).view() : "common";
  require(subject);
  const auto number = as_number(subject);
  if (!number) throw Error(fmt::format("type {} doesn't define __round__ method", type_name(subject)));
  if (method == "common") {
    if (number->is_real) return Value(round_real(number->real, digits), subject.given());
    return Value(round_integer(number->integer, digits), subject.given());
  }
  if (method != "ceil" && method != "floor") throw Error("round() method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = number->real * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale, subject.given());
}

constexpr FilterEntry kFilters[] = {{"abs", absolute}, {"float", real}, {"int", integer}, {"round", round}};

}  // namespace

Filter find_number_filter(std::string_view name) { return find_in(kFilters, name); }

}  // namespace minke::jinja
