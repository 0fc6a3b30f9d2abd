// Values as text: Python's str and repr, and JSON.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/characters.h"
#include "text/jinja/runtime.h"

namespace minke::jinja {
namespace {

// Text that grows under the meter, given as soon as anything given goes into it.
struct Printer {
  Runtime& runtime;
  std::string out = {};
  bool given = false;

  void add(std::string_view text) {
    runtime.meter.handle(text.size() + 32);
    if (out.size() + text.size() > out.capacity()) runtime.meter.check(2 * (out.size() + text.size()));
    out += text;
  }
};

std::string quoted(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = single ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    if (c == static_cast<char32_t>(quote) || c == '\\')
      out.append({'\\', static_cast<char>(c)});
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (is_printable(c))
      out += text.substr(begin, i - begin);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    else
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
  }
  return out += quote;
}

void represent(Printer& printer, const Value& value);

void represent_items(Printer& printer, const List& list, std::string_view open, std::string_view close) {
  printer.add(open);
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i) printer.add(", ");
    represent(printer, list.items[i]);
  }
  printer.add(close);
}

void represent_list(Printer& printer, const List& list) {
  switch (list.kind) {
    case ListKind::list: return represent_items(printer, list, "[", "]");
    case ListKind::tuple:
    case ListKind::group: return represent_items(printer, list, "(", list.items.size() == 1 ? ",)" : ")");
    case ListKind::keys: return represent_items(printer, list, "dict_keys([", "])");
    case ListKind::values: return represent_items(printer, list, "dict_values([", "])");
    case ListKind::items: return represent_items(printer, list, "dict_items([", "])");
    case ListKind::generator: throw Error("a generator cannot be printed", {}, "put | list behind it");
  }
}

void represent(Printer& printer, const Value& value) {
  Meter::Level level(printer.runtime.meter);  // namespaces may hold themselves
  if (value.given()) printer.given = true;
  if (const Text* text = value.text()) {
    printer.add(text->is_markup() ? "Markup(" + quoted(text->view()) + ")" : quoted(text->view()));
  } else if (const auto* list = value.list()) {
    represent_list(printer, **list);
  } else if (const auto* dict = value.dict()) {
    printer.add("{");
    bool first = true;
    for (const auto& [key, item] : (*dict)->members) {
      if (!std::exchange(first, false)) printer.add(", ");
      represent(printer, key);
      printer.add(": ");
      represent(printer, item);
    }
    printer.add("}");
  } else if (Namespace* const* space = std::get_if<Namespace*>(&value.data())) {
    printer.add("<Namespace {");
    bool first = true;
    for (const auto& [name, item] : (*space)->attributes) {
      if (!std::exchange(first, false)) printer.add(", ");
      printer.add(quoted(name) + ": ");
      represent(printer, item);
    }
    printer.add("}>");
  } else if (const Range* range = value.range()) {
    printer.add(range->step == 1 ? fmt::format("range({}, {})", range->start, range->stop)
                                 : fmt::format("range({}, {}, {})", range->start, range->stop, range->step));
  } else if (value.is_none()) {
    printer.add("None");
  } else if (value.is_undefined()) {
    printer.add("Undefined");
  } else if (const bool* b = value.boolean()) {
    printer.add(*b ? "True" : "False");
  } else if (const Int* i = value.integer()) {
    printer.add(to_string(*i));
  } else if (const double* d = value.real()) {
    printer.add(to_string(*d));
  } else {
    throw Error(fmt::format("a {} cannot be printed", type_name(value)), {},
                "call it, or print what it gives");
  }
}

void write_json_string(Printer& printer, std::string_view text, bool ascii) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    const auto escape = [&](char32_t unit) { out += fmt::format("\\u{:04x}", static_cast<uint32_t>(unit)); };
    if (c == '"')
      out += "\\\"";
    else if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\b')
      out += "\\b";
    else if (c == '\f')
      out += "\\f";
    else if (c < 0x20 || (ascii && c > 0x7e && c < 0x10000))
      escape(c);
    else if (ascii && c >= 0x10000)
      escape(0xd800 + ((c - 0x10000) >> 10)), escape(0xdc00 + (c & 0x3ff));
    else
      out += text.substr(begin, i - begin);
  }
  printer.add(out += '"');
}

std::string json_scalar(const Value& value) {
  if (value.is_none()) return "null";
  if (const bool* b = value.boolean()) return *b ? "true" : "false";
  if (const Int* i = value.integer()) return to_string(*i);
  if (const double* d = value.real()) {
    if (std::isnan(*d)) return "NaN";
    if (std::isinf(*d)) return *d < 0 ? "-Infinity" : "Infinity";
    return to_string(*d);
  }
  return {};
}

class JsonWriter {
 public:
  JsonWriter(Printer& printer, const JsonForm& form) : printer_(printer), form_(form) {
    if (form.separators)
      std::tie(comma_, colon_) = *form.separators;
    else if (form.indent)
      comma_ = ",";
  }

  void write(const Value& value, int depth) {
    if (value.given()) printer_.given = true;
    if (const Text* text = value.text()) return write_json_string(printer_, text->view(), form_.ascii);
    if (const auto* list = value.list(); list && (*list)->kind <= ListKind::group) {
      return write_container((*list)->items, '[', ']', depth,
                             [&](const Value& item) { write(item, depth + 1); });
    }
    if (const auto* dict = value.dict()) {
      std::vector<Member> members = (*dict)->members;
      if (form_.sort_keys)
        std::stable_sort(members.begin(), members.end(), [&](const Member& a, const Member& b) {
          return less(printer_.runtime, a.first, b.first);
        });
      return write_container(members, '{', '}', depth, [&](const Member& member) {
        write_key(member.first);
        printer_.add(colon_);
        write(member.second, depth + 1);
      });
    }
    const std::string scalar = json_scalar(value);
    if (scalar.empty())
      throw Error(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    printer_.add(scalar);
  }

 private:
  void write_key(const Value& key) {
    if (key.given()) printer_.given = true;
    if (const Text* text = key.text()) return write_json_string(printer_, text->view(), form_.ascii);
    const std::string scalar = json_scalar(key);
    if (scalar.empty())
      throw Error(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
    printer_.add('"' + scalar + '"');
  }
  void new_line(int depth) {
    if (!form_.indent) return;
    printer_.add("\n");
    for (int i = 0; i < depth; ++i) printer_.add(*form_.indent);
  }
  template <typename Items, typename WriteItem>
  void write_container(const Items& items, char open, char close, int depth, WriteItem write_item) {
    printer_.add({&open, 1});
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) printer_.add(comma_);
      new_line(depth + 1);
      write_item(items[i]);
    }
    if (!items.empty()) new_line(depth);
    printer_.add({&close, 1});
  }

  Printer& printer_;
  const JsonForm& form_;
  std::string comma_ = ", ", colon_ = ": ";
};

}  // namespace

Text representation(Runtime& runtime, const Value& value) {
  Printer printer{runtime};
  represent(printer, value);
  return Text(std::move(printer.out), printer.given);
}

Text to_text(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return Text();
  return representation(runtime, value);
}

Text escape_html(const Text& text) {
  if (text.is_markup()) return text;
  Text out;
  text.each_run([&](std::string_view run, bool given) {
    std::string escaped;
    for (const char c : run) {
      switch (c) {
        case '&': escaped += "&amp;"; break;
        case '<': escaped += "&lt;"; break;
        case '>': escaped += "&gt;"; break;
        case '"': escaped += "&#34;"; break;
        case '\'': escaped += "&#39;"; break;
        default: escaped += c;
      }
    }
    out.append(escaped, given);
  });
  return out.as_markup();
}

Text concatenate(Runtime& runtime, const std::vector<Value>& parts) {
  Text out;
  for (const Value& part : parts) {
    const Text* text = part.text();
    const Text& printed = text ? *text : to_text(runtime, part);
    runtime.meter.check(out.size() + printed.size());
    runtime.meter.handle(printed.size());
    out.append(printed);
  }
  return out;
}

Text to_json(Runtime& runtime, const Value& value, const JsonForm& form) {
  Printer printer{runtime};
  printer.given = form.given;
  JsonWriter(printer, form).write(value, 0);
  return Text(std::move(printer.out), printer.given);
}

}  // namespace minke::jinja
