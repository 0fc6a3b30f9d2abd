// Filters that look at one value as text.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/characters.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_methods.h"

namespace minke::jinja {
namespace {

template <std::string (*kMap)(std::string_view)>
Value map_characters(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "upper", {});
  return runtime.text(map_runs(to_text(runtime, subject), kMap));
}

template <std::string (*kMap)(std::string_view)>
Value map_whole(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "title", {});
  const Text text = to_text(runtime, subject);
  return runtime.text(kMap(text.view()), text.any_given());
}

// Unlike str.title, words begin only after white space and one of -({[<.
std::string title_words(std::string_view text) {
  std::string out;
  const auto separates = [](char32_t c) {
    return is_space(c) ||
           (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
  };
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t first = next_character(text, i);
    out += upper(text.substr(begin, i - begin));
    if (separates(first)) continue;
    const size_t rest = i;
    while (i < text.size()) {
      size_t next = i;
      if (separates(next_character(text, next))) break;
      i = next;
    }
    out += lower(text.substr(rest, i - rest));
  }
  return out;
}

Value center(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "center", {"width"});
  return runtime.text(centered(runtime, to_text(runtime, subject), bound.integer(0, 80)));
}

Value escape(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "escape", {});
  return runtime.text(escape_html(to_text(runtime, subject)));
}

Value force_escape(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "forceescape", {});
  const Text text = to_text(runtime, subject);
  return runtime.text(escape_html(text.slice(0, text.size())));  // a slice is no markup
}

Value safe(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "safe", {});
  return runtime.text(to_text(runtime, subject).as_markup());
}

Value string(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "string", {});
  return subject.text() ? subject : runtime.text(to_text(runtime, subject));
}

Value format(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  if (!arguments.named.empty() && !arguments.positional.empty())
    throw Error("format() cannot take positional and keyword arguments at the same time");
  std::vector<Member> members;
  for (const auto& [name, value] : arguments.named) members.emplace_back(runtime.text(name), value);
  const Value values = members.empty() ? runtime.list(arguments.positional, ListKind::tuple)
                                       : runtime.dict(std::move(members));
  return runtime.text(format_percent(runtime, to_text(runtime, subject), values));
}

const Text& text_of(const Value& subject, std::string_view filter) {
  require(subject);
  if (!subject.text()) throw Error(fmt::format("{}() wants a string, not {}", filter, type_name(subject)));
  return *subject.text();
}

Value indent(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "indent", {"width", "first", "blank"});
  Text indention;
  if (bound.find(0) && bound.find(0)->text()) {
    indention = bound.text(0);
  } else {
    const int64_t width = std::max<int64_t>(bound.integer(0, 4), 0);
    runtime.meter.check(static_cast<size_t>(width));
    indention.append(std::string(static_cast<size_t>(width), ' '), false);
  }
  const bool blank = bound.flag(2, false);
  Text text = text_of(subject, "indent");
  text.append("\n", false);  // as Jinja does, so that a last line break is kept
  Text out;
  if (bound.flag(1, false)) out.append(indention);
  bool first = true;
  for (const Text& line : split_lines(runtime, text, false)) {
    if (!first) out.append("\n", false);
    if (!first && (blank || !line.empty())) out.append(indention);
    first = false;
    out.append(line);
    runtime.meter.check(out.size());
    runtime.meter.handle(line.size() + indention.size() + 32);
  }
  return runtime.text(std::move(out));
}

Value replace_filter(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "replace", {"old", "new", "count"}, 2);
  const int64_t count = bound.is_none(2) ? -1 : bound.integer(2, -1);
  return runtime.text(replace(runtime, to_text(runtime, subject), to_text(runtime, bound.at(0)),
                              to_text(runtime, bound.at(1)), count));
}

// Character references of XML, and of no more; html.unescape knows two thousand names.
std::string unescape(std::string_view text) {
  constexpr std::pair<std::string_view, char> kNames[] = {{"&lt;", '<'},   {"&gt;", '>'},  {"&amp;", '&'},
                                                          {"&quot;", '"'}, {"&#34;", '"'}, {"&#39;", '\''},
                                                          {"&apos;", '\''}};
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto* found = std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& name) {
      return text.substr(i).starts_with(name.first);
    });
    if (found == std::end(kNames)) {
      out += text[i++];
    } else {
      out += found->second;
      i += found->first.size();
    }
  }
  return out;
}

Value strip_tags(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "striptags", {});
  const Text text = to_text(runtime, subject);
  const std::string_view view = text.view();
  std::string kept;
  for (size_t i = 0; i < view.size();) {
    const bool comment = view.substr(i).starts_with("<!--");
    const std::string_view end_mark = comment ? "-->" : ">";
    const size_t end = view[i] == '<' ? view.find(end_mark, i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      const size_t next = std::min(view.find('<', i + 1), view.size());
      kept += view.substr(i, next - i);
      runtime.meter.handle(view.size() - i);  // an end that is not there is looked for each time
      i = next;
    } else {
      i = end + end_mark.size();
    }
  }
  std::string words;
  bool space = false;
  for (size_t i = 0; i < kept.size();) {
    const size_t begin = i;
    const char32_t c = next_character(kept, i);
    if (is_space(c)) {
      space = !words.empty();
      continue;
    }
    if (std::exchange(space, false)) words += ' ';
    words += std::string_view(kept).substr(begin, i - begin);
  }
  return runtime.text(unescape(words), text.any_given());
}

Value trim(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "trim", {"chars"});
  return runtime.text(
      strip(to_text(runtime, subject), bound.is_none(0) ? nullptr : &bound.text(0), true, true));
}

Value truncate(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "truncate", {"length", "killwords", "end", "leeway"});
  const Text end = bound.find(2) ? bound.text(2) : Text("...", false);
  const int64_t length = bound.integer(0, 255), leeway = bound.is_none(3) ? 5 : bound.integer(3, 5);
  const auto end_length = static_cast<int64_t>(count_characters(end.view()));
  if (length < end_length)
    throw Error(fmt::format("truncate() expected length >= {}, got {}", end_length, length));
  if (leeway < 0) throw Error("truncate() expected leeway >= 0");
  if (length_of(subject) <= length + leeway) return subject;
  const Text& text = text_of(subject, "truncate");
  Text out = text.slice(0, offset_of(text.view(), static_cast<size_t>(length - end_length)));
  if (!bound.flag(1, false)) out = split_from_right(runtime, out, " ", 1).front();
  out.append(end);
  return runtime.text(std::move(out));
}

Value word_count(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "wordcount", {});
  const Text text = to_text(runtime, subject);
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const bool word = is_word(next_character(text.view(), i));
    words += word && !inside;
    inside = word;
  }
  return Value::integer(words, text.any_given());
}

Value to_json_filter(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonForm form;
  form.ascii = bound.flag(0, false);
  form.sort_keys = bound.flag(3, false);
  if (!bound.is_none(1)) {
    const Value& indention = *bound.find(1);
    if (indention.text()) {
      form.indent = indention.text()->view();
    } else {
      const int64_t width = std::max<int64_t>(to_index(indention), 0);
      runtime.meter.check(static_cast<size_t>(width));
      form.indent = std::string(static_cast<size_t>(width), ' ');
    }
    form.given = indention.given();
  }
  if (!bound.is_none(2)) {
    const Items parts = iterate(runtime, bound.at(2));
    if (parts.size() != 2 || !parts[0].text() || !parts[1].text())
      throw Error("tojson() separators must be two strings");
    form.separators = {std::string(parts[0].text()->view()), std::string(parts[1].text()->view())};
    form.given = form.given || parts[0].given() || parts[1].given();
  }
  return runtime.text(to_json(runtime, subject, form));
}

constexpr FilterEntry kFilters[] = {
    {"capitalize", map_whole<capitalize>},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"format", format},
    {"indent", indent},
    {"lower", map_characters<lower>},
    {"replace", replace_filter},
    {"safe", safe},
    {"string", string},
    {"striptags", strip_tags},
    {"title", map_whole<title_words>},
    {"tojson", to_json_filter},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", map_characters<upper>},
    {"wordcount", word_count},
};

}  // namespace

Filter find_text_filter(std::string_view name) { return find_in(kFilters, name); }

}  // namespace minke::jinja
