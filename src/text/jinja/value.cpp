#include "text/jinja/value.h"

#include <cctype>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/runtime.h"

namespace minke::jinja {
Value Value::undefined(std::string why) {
  return Value(Undefined{std::make_shared<std::string>(std::move(why))});
}

int Value::depth() const {
  if (const auto* l = list()) return (*l)->depth;
  if (const auto* d = dict()) return (*d)->depth;
  return 0;
}

int64_t Range::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

const Value* Dict::find(std::string_view key) const {
  for (const Member& member : members)
    if (const Text* text = member.first.text(); text && text->view() == key) return &member.second;
  return nullptr;
}

std::string_view type_name(const Value& value) {
  constexpr std::string_view kNames[] = {"Undefined",
                                         "NoneType",
                                         "bool",
                                         "int",
                                         "float",
                                         "str",
                                         "list",
                                         "dict",
                                         "range",
                                         "Namespace",
                                         "LoopContext",
                                         "Macro",
                                         "builtin_function_or_method",
                                         "function"};
  constexpr std::string_view kListNames[] = {"list",      "tuple",       "tuple",     "generator",
                                             "dict_keys", "dict_values", "dict_items"};
  static_assert(std::size(kNames) == std::variant_size_v<Value::Data>);
  if (const auto* list = value.list()) return kListNames[static_cast<size_t>((*list)->kind)];
  return kNames[value.data().index()];
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const bool* b = value.boolean()) return *b;
  if (const Int* i = value.integer()) return *i != 0;
  if (const double* d = value.real()) return *d != 0;
  if (const Text* text = value.text()) return !text->empty();
  if (const auto* list = value.list()) return (*list)->kind == ListKind::generator || !(*list)->items.empty();
  if (const auto* dict = value.dict()) return !(*dict)->members.empty();
  if (const Range* range = value.range()) return range->size() > 0;
  return true;
}

std::optional<Number> as_number(const Value& value) {
  if (const bool* b = value.boolean()) return Number{false, *b, static_cast<double>(*b)};
  if (const Int* i = value.integer()) return Number{false, *i, static_cast<double>(*i)};
  if (const double* d = value.real()) return Number{true, 0, *d};
  return std::nullopt;
}

std::string to_string(Int value) { return fmt::format("{}", value); }

std::string to_string(double value) {
  if (std::isnan(value)) return "nan";
  std::string text = fmt::format("{}", value);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  const auto is_digit = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      out += text[i];
    else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1]))
      return std::nullopt;
  }
  return out;
}

std::optional<double> parse_real(std::string_view text) {
  const auto clean = without_underscores(text);
  if (!clean || clean->empty()) return std::nullopt;
  std::string_view rest = *clean;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty() || rest[0] == '-' || rest.find('(') != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (result.ptr != rest.data() + rest.size() || result.ec == std::errc::invalid_argument)
    return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) {
    const size_t exponent = rest.find_first_of("eE");
    const bool tiny =
        exponent == std::string_view::npos ? rest[0] == '0' || rest[0] == '.' : rest[exponent + 1] == '-';
    value = tiny ? 0.0 : HUGE_VAL;
  }
  return negative ? -value : value;
}

}  // namespace minke::jinja
