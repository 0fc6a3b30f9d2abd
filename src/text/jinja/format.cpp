// Python's two ways of formatting: '%s' % x and '{}'.format(x). Literals keep their marks; what is put in
// keeps its own.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/characters.h"
#include "text/jinja/runtime.h"

namespace minke::jinja {
namespace {

__extension__ typedef unsigned __int128 Unsigned;
constexpr int64_t kMaxPrecision = 1000;

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  char32_t fill = ' ';
  char align = 0;  // '<', '>', '^', '=' or none
  char sign = '-';
  bool alternate = false;
  char grouping = 0;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 0;
};

int64_t read_number(std::string_view text, size_t& i) {
  int64_t value = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    value = value * 10 + (text[i] - '0');
    if (value > INT32_MAX) throw Error("a width or precision of a format is too big");
  }
  return value;
}

void check_precision(const Spec& spec) {
  if (spec.precision.value_or(0) > kMaxPrecision)
    throw Error(fmt::format("a format's precision of {} digits, at most {} are allowed", *spec.precision,
                            kMaxPrecision));
}

// Pads to the width. In numbers '=' pads between sign and digits: `lead` bytes are sign and prefix.
Text pad(Runtime& runtime, Text text, const Spec& spec, char default_align, size_t lead = 0) {
  const auto missing = spec.width - static_cast<int64_t>(count_characters(text.view()));
  if (missing <= 0) return text;
  runtime.meter.check(static_cast<size_t>(missing) * 4);
  runtime.meter.handle(static_cast<size_t>(missing));
  const char align = spec.align ? spec.align : default_align;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const bool given = text.any_given();
  const auto fill = [&](int64_t count) {
    std::string out;
    for (; count > 0; --count) append_character(out, spec.fill);
    return out;
  };
  const size_t cut = align == '=' ? lead : 0;
  Text out = text.slice(0, cut);
  out.append(fill(left), given);
  out.append(text.slice(cut, text.size()));
  out.append(fill(missing - left), given);
  return out;
}

std::string grouped(std::string digits, char separator, size_t every) {
  if (!separator) return digits;
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  for (size_t i = whole; i > every; i -= every) digits.insert(i - every, 1, separator);
  return digits;
}

struct Digits {
  std::string lead, digits;  // sign and prefix, the rest
};

Digits signed_digits(bool negative, const Spec& spec, std::string prefix, std::string digits) {
  std::string lead = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return {lead + prefix, std::move(digits)};
}

Digits integer_digits(Int value, const Spec& spec) {
  const Unsigned magnitude = value < 0 ? -static_cast<Unsigned>(value) : static_cast<Unsigned>(value);
  const char type = spec.type ? spec.type : 'd';
  const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  // A name of its own: GCC 12 with UBSan computes the index into a choice of two literals in one branch only.
  const char* const all = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits;
  for (Unsigned rest = magnitude; rest != 0 || digits.empty(); rest /= base)
    digits += all[static_cast<unsigned>(rest % base)];
  std::reverse(digits.begin(), digits.end());
  std::string prefix;
  if (spec.alternate && base != 10) prefix = {'0', type};
  return signed_digits(value < 0, spec, prefix,
                       grouped(std::move(digits), spec.grouping, base == 10 ? 3 : 4));
}

Digits real_digits(double value, const Spec& spec) {
  check_precision(spec);
  const char type = spec.type ? spec.type : 'r';
  const double magnitude = std::abs(type == '%' ? value * 100 : value);
  const int precision = static_cast<int>(spec.precision.value_or(6));
  const bool big = type == 'E' || type == 'F' || type == 'G';
  std::string digits;
  if (!std::isfinite(magnitude)) {
    digits = std::isnan(magnitude) ? "nan" : "inf";
  } else if (type == 'r' && !spec.precision) {
    digits = to_string(magnitude);
  } else {
    const char form = type == 'r' || type == 'n' ? 'g'
                      : type == '%'              ? 'f'
                                                 : static_cast<char>(big ? type + 32 : type);
    digits = fmt::format(fmt::runtime(spec.alternate ? fmt::format("{{:#.{}{}}}", precision, form)
                                                     : fmt::format("{{:.{}{}}}", precision, form)),
                         magnitude);
    if (type == 'r' && digits.find_first_not_of("0123456789") == std::string::npos) digits += ".0";
  }
  if (big) digits = upper(digits);
  if (type == '%') digits += '%';
  return signed_digits(std::signbit(value) && !std::isnan(value), spec, "",
                       grouped(digits, spec.grouping, 3));
}

Text finish_number(Runtime& runtime, const Digits& number, const Spec& spec, bool given) {
  return pad(runtime, Text(number.lead + number.digits, given), spec, '>', number.lead.size());
}

Text truncated(Text text, const Spec& spec) {
  if (!spec.precision) return text;
  return text.slice(0, offset_of(text.view(), static_cast<size_t>(*spec.precision)));
}

std::string character_of(Int code) {
  if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
    throw Error("%c arg not in range(0x110000)");
  std::string out;
  append_character(out, static_cast<char32_t>(code));
  return out;
}

// --- '%'

class PercentFormat {
 public:
  PercentFormat(Runtime& runtime, const Text& format, const Value& values)
      : runtime_(runtime), format_(format), values_(values) {
    if (const auto* list = values.list()) {
      if ((*list)->kind == ListKind::tuple || (*list)->kind == ListKind::group) tuple_ = list->get();
      is_view_ = (*list)->kind >= ListKind::generator;
    }
  }

  Text run() {
    const std::string_view text = format_.view();
    size_t begin = 0;
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '%') {
        ++i;
        continue;
      }
      out_.append(format_.slice(begin, i));
      begin = i = convert(i + 1);
    }
    out_.append(format_.slice(begin, text.size()));
    // What Python takes for a mapping need not be used up: whatever has items by key or place, but tuples and
    // strings.
    const bool mapping = values_.dict() || values_.list() || values_.range() || values_.is_undefined();
    const bool all_used = tuple_ ? next_ >= tuple_->items.size() : next_ > 0 || (mapping && !is_view_);
    if (!all_used) throw Error("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  // One conversion whose '%' is before byte i; returns where the literal goes on.
  size_t convert(size_t i) {
    const std::string_view text = format_.view();
    Spec spec;
    std::optional<Value> keyed;
    if (i < text.size() && text[i] == '(') {
      const size_t end = text.find(')', i);
      if (end == std::string_view::npos) throw Error("incomplete format key");
      if (!values_.dict()) throw Error("format requires a mapping");
      const Value* value = (*values_.dict())->find(text.substr(i + 1, end - i - 1));
      if (!value)
        throw Error(fmt::format("the format's key '{}' is not there", text.substr(i + 1, end - i - 1)));
      keyed = *value;
      next_ = 1;
      i = end + 1;
    }
    for (; i < text.size() && std::string_view("-+ #0").find(text[i]) != std::string_view::npos; ++i) {
      if (text[i] == '-')
        spec.align = '<';
      else if (text[i] == '#')
        spec.alternate = true;
      else if (text[i] == '0')
        spec.fill = spec.fill == ' ' ? U'0' : spec.fill;
      else if (spec.sign != '+')
        spec.sign = text[i];
    }
    spec.width = i < text.size() && text[i] == '*' ? (++i, starred(spec)) : read_number(text, i);
    if (i < text.size() && text[i] == '.') {
      ++i;
      Spec ignored;
      spec.precision = i < text.size() && text[i] == '*' ? (++i, starred(ignored)) : read_number(text, i);
    }
    while (i < text.size() && (text[i] == 'h' || text[i] == 'l' || text[i] == 'L')) ++i;
    if (i >= text.size()) throw Error("incomplete format");
    spec.type = text[i++];
    if (spec.type == '%')
      out_.append(format_.slice(i - 1, i));
    else
      append(spec, keyed ? *keyed : next());
    return i;
  }

  int64_t starred(Spec& spec) {
    const Value value = next();
    if (!value.integer() || *value.integer() > INT32_MAX || *value.integer() < -INT32_MAX)
      throw Error("* wants int");
    const auto width = static_cast<int64_t>(*value.integer());
    if (width < 0) spec.align = '<';
    return std::abs(width);
  }

  const Value& next() {
    if (tuple_ ? next_ >= tuple_->items.size() : next_ > 0)
      throw Error("not enough arguments for format string");
    return tuple_ ? tuple_->items[next_++] : (++next_, values_);
  }

  void emit(const Text& text) {
    runtime_.meter.check(out_.size() + text.size());
    runtime_.meter.handle(text.size() + 32);
    out_.append(text);
  }

  void append(Spec spec, const Value& value) {
    const bool given = value.given();
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'a') {
      spec.fill = ' ';
      Text text = spec.type == 's' ? to_text(runtime_, value) : representation(runtime_, value);
      return emit(pad(runtime_, truncated(std::move(text), spec), spec, '>'));
    }
    if (spec.fill == '0') spec.align = spec.align ? spec.align : '=';
    if (spec.align == '<') spec.fill = ' ';
    if (spec.type == 'c') {
      spec.fill = ' ';
      const bool one = value.text() && count_characters(value.text()->view()) == 1;
      if (!one && !value.integer()) throw Error("%c requires int or char");
      Text text = one ? *value.text() : Text(character_of(*value.integer()), given);
      return emit(pad(runtime_, std::move(text), spec, '>'));
    }
    const auto number = as_number(value);
    require(value);
    if (!number)
      throw Error(fmt::format("%{} format: a number is required, not {}", spec.type, type_name(value)));
    if (std::string_view("diuxXo").find(spec.type) != std::string_view::npos) {
      if (number->is_real && (std::abs(number->real) > 0x1p126 || std::isnan(number->real) ||
                              std::string_view("xXo").find(spec.type) != std::string_view::npos))
        throw Error(fmt::format("%{} format: an integer is required, not float", spec.type));
      if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
      Digits digits =
          integer_digits(number->is_real ? static_cast<Int>(number->real) : number->integer, spec);
      check_precision(spec);
      while (static_cast<int64_t>(digits.digits.size()) < spec.precision.value_or(0))
        digits.digits.insert(0, 1, '0');
      return emit(finish_number(runtime_, digits, spec, given));
    }
    if (std::string_view("eEfFgG").find(spec.type) == std::string_view::npos)
      throw Error(fmt::format("unsupported format character '{}'", spec.type));
    emit(finish_number(runtime_, real_digits(number->real, spec), spec, given));
  }

  Runtime& runtime_;
  const Text& format_;
  const Value& values_;
  const List* tuple_ = nullptr;
  bool is_view_ = false;  // or a generator
  size_t next_ = 0;
  Text out_;
};

// --- '{}'.format

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t i = 0;
  const auto is_align = [](char32_t c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    size_t after = 0;
    const char32_t first = next_character(text, after);
    if (after < text.size() && is_align(static_cast<unsigned char>(text[after]))) {
      spec.fill = first;
      spec.align = text[after];
      i = after + 1;
    } else if (is_align(first)) {
      spec.align = text[i++];
    }
  }
  const auto accept = [&](std::string_view any) {
    return i < text.size() && any.find(text[i]) != std::string_view::npos ? text[i++] : '\0';
  };
  if (const char sign = accept("+- ")) spec.sign = sign;
  spec.alternate = accept("#");
  if (accept("0") && !spec.align) spec.fill = '0', spec.align = '=';
  spec.width = read_number(text, i);
  spec.grouping = accept(",_");
  if (accept(".")) {
    if (i >= text.size() || text[i] < '0' || text[i] > '9') throw Error("Format specifier missing precision");
    spec.precision = read_number(text, i);
  }
  spec.type = accept("bcdeEfFgGnosxX%");
  if (i != text.size()) throw Error(fmt::format("invalid format specifier '{}'", text));
  return spec;
}

Text format_value(Runtime& runtime, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return to_text(runtime, value);
  Spec spec = parse_spec(spec_text);
  const auto bad_type = [&] {
    return Error(
        fmt::format("unknown format code '{}' for object of type '{}'", spec.type, type_name(value)));
  };
  if (const Text* text = value.text()) {
    if ((spec.type && spec.type != 's') || spec.align == '=') throw bad_type();
    return pad(runtime, truncated(*text, spec), spec, '<');
  }
  const auto number = as_number(value);
  if (!number)
    throw Error(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
  if (spec.type == 's') throw bad_type();
  const bool whole = !spec.type || std::string_view("bcdnoxX").find(spec.type) != std::string_view::npos;
  if (number->is_real || !whole) {
    if (spec.type && std::string_view("bcdoxX").find(spec.type) != std::string_view::npos) throw bad_type();
    return finish_number(runtime, real_digits(number->real, spec), spec, value.given());
  }
  if (spec.type == 'c') return pad(runtime, Text(character_of(number->integer), value.given()), spec, '<');
  if (spec.precision) throw Error("Precision not allowed in integer format specifier");
  return finish_number(runtime, integer_digits(number->integer, spec), spec, value.given());
}

class BraceFormat {
 public:
  BraceFormat(Runtime& runtime, const Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  Text run(const Text& format, int depth = 0) {
    if (depth > 1) throw Error("Max string recursion exceeded");
    const std::string_view text = format.view();
    Text out;
    for (size_t i = 0; i < text.size();) {
      const size_t brace = std::min(text.find_first_of("{}", i), text.size());
      out.append(format.slice(i, brace));
      if (brace == text.size()) break;
      if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
        out.append(format.slice(brace, brace + 1));
        i = brace + 2;
        continue;
      }
      if (text[brace] == '}') throw Error("Single '}' encountered in format string");
      const size_t end = closing(text, brace);
      out.append(field(format.slice(brace + 1, end), depth));
      runtime_.meter.check(out.size());
      i = end + 1;
    }
    return out;
  }

 private:
  static size_t closing(std::string_view text, size_t open) {
    int depth = 0;
    for (size_t i = open; i < text.size(); ++i) {
      if (text[i] == '{') ++depth;
      if (text[i] == '}' && --depth == 0) return i;
    }
    throw Error("expected '}' before end of string");
  }

  Text field(const Text& text, int depth) {
    runtime_.meter.step();
    const std::string_view all = text.view();
    const size_t name_end = std::min(all.find_first_of("!:"), all.size());
    Value value = look_up(all.substr(0, name_end));
    size_t i = name_end;
    if (i < all.size() && all[i] == '!') {
      const char conversion = i + 1 < all.size() ? all[i + 1] : '\0';
      if (conversion == 'r' || conversion == 'a')
        value = runtime_.text(representation(runtime_, value));
      else if (conversion == 's')
        value = runtime_.text(to_text(runtime_, value));
      else
        throw Error("expected 's', 'r' or 'a' after '!' in a format");
      i += 2;
      if (i < all.size() && all[i] != ':') throw Error("expected ':' after conversion specifier");
    }
    if (i >= all.size()) return format_value(runtime_, value, {});
    const Text spec = run(text.slice(i + 1, all.size()), depth + 1);
    return format_value(runtime_, value, spec.view());
  }

  Value look_up(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, first_end));
    for (size_t i = first_end; i < name.size();) {
      const bool item = name[i] == '[';
      const size_t end = std::min(item ? name.find(']', i) : name.find_first_of(".[", i + 1), name.size());
      if (item && end == name.size()) throw Error("Missing ']' in format string");
      const std::string_view part = name.substr(i + 1, end - i - 1);
      if (part.empty()) throw Error("Empty attribute in format string");
      const bool index = part.find_first_not_of("0123456789") == std::string_view::npos && part.size() < 10;
      if (!item)
        value = get_attribute(runtime_, value, part);
      else if (index)
        value = get_item(runtime_, value, Value::integer(std::stoll(std::string(part))));
      else
        value = get_item(runtime_, value, runtime_.text(std::string(part)));
      i = item ? end + 1 : end;
    }
    return value;
  }

  const Value& argument(std::string_view name) {
    if (name.find_first_not_of("0123456789") != std::string_view::npos) {
      for (const auto& [key, value] : arguments_.named)
        if (key == name) return value;
      throw Error(fmt::format("the format's key '{}' is not among the arguments", name));
    }
    size_t i = 0;
    const auto index = static_cast<size_t>(name.empty() ? automatic_++ : read_number(name, i));
    if (index >= arguments_.positional.size())
      throw Error(fmt::format("Replacement index {} out of range for positional args", index));
    return arguments_.positional[index];
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  int64_t automatic_ = 0;
};

}  // namespace

Text format_percent(Runtime& runtime, const Text& format, const Value& values) {
  return PercentFormat(runtime, format, values).run();
}

Text format_braces(Runtime& runtime, const Text& format, const Arguments& arguments) {
  return BraceFormat(runtime, arguments).run(format);
}

}  // namespace minke::jinja
