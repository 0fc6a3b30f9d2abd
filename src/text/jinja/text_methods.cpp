#include "text/jinja/text_methods.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/characters.h"

namespace minke::jinja {
namespace {

// In linear time whatever the texts (glibc's memmem is two-way).
size_t find_bytes(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

// Many short parts take far more than the text: asked before each doubling.
template <typename T>
void push(Runtime& runtime, std::vector<T>& parts, T part) {
  if (parts.size() == parts.capacity()) runtime.meter.check(2 * parts.size() * sizeof(TextObject));
  parts.push_back(std::move(part));
}

// Where `needle` stands, at most `most` times (-1: all), without overlaps, from the left or from the right;
// ascending.
std::vector<size_t> occurrences(Runtime& runtime, std::string_view text, std::string_view needle,
                                int64_t most, bool from_right) {
  runtime.meter.handle(text.size() + needle.size());
  std::string text_backwards, needle_backwards;
  if (from_right) {
    text_backwards.assign(text.rbegin(), text.rend());
    needle_backwards.assign(needle.rbegin(), needle.rend());
  }
  const std::string_view t = from_right ? text_backwards : text, n = from_right ? needle_backwards : needle;
  std::vector<size_t> found;
  for (size_t i = 0; most < 0 || static_cast<int64_t>(found.size()) < most;) {
    const size_t at = find_bytes(t, n, i);
    if (at == std::string_view::npos) break;
    push(runtime, found, from_right ? text.size() - at - n.size() : at);
    i = at + n.size();
  }
  if (from_right) std::reverse(found.begin(), found.end());
  return found;
}

std::vector<Text> cut_at(const Text& text, const std::vector<size_t>& places, size_t width) {
  std::vector<Text> parts;
  size_t begin = 0;
  for (const size_t place : places) {
    parts.push_back(text.slice(begin, place));
    begin = place + width;
  }
  parts.push_back(text.slice(begin, text.size()));
  return parts;
}

std::vector<Text> split_words(Runtime& runtime, const Text& text, int64_t most) {
  const std::string_view view = text.view();
  std::vector<Text> words;
  size_t i = 0;
  const auto skip = [&](bool space) {
    while (i < view.size()) {
      size_t next = i;
      if (is_space(next_character(view, next)) != space) break;
      i = next;
    }
  };
  for (skip(true); i < view.size(); skip(true)) {
    const size_t begin = i;
    if (most >= 0 && static_cast<int64_t>(words.size()) == most)
      i = view.size();
    else
      skip(false);
    push(runtime, words, text.slice(begin, i));
  }
  return words;
}

std::vector<Text> split_words_from_right(Runtime& runtime, const Text& text, int64_t most) {
  const std::string_view view = text.view();
  std::vector<Text> words;
  size_t end = view.size();
  const auto skip = [&](bool space) {
    while (end > 0) {
      size_t previous = end;
      if (is_space(previous_character(view, previous)) != space) break;
      end = previous;
    }
  };
  for (skip(true); end > 0; skip(true)) {
    const size_t last = end;
    if (most >= 0 && static_cast<int64_t>(words.size()) == most)
      end = 0;
    else
      skip(false);
    push(runtime, words, text.slice(end, last));
  }
  std::reverse(words.begin(), words.end());
  return words;
}

Value to_list(Runtime& runtime, std::vector<Text> parts, ListKind kind = ListKind::list) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (Text& part : parts) items.push_back(runtime.text(std::move(part)));
  return runtime.list(std::move(items), kind);
}

template <bool kFromRight>
Value split(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, kFromRight ? "rsplit" : "split", {"sep", "maxsplit"});
  const int64_t most = bound.integer(1, -1);
  if (bound.is_none(0))
    return to_list(
        runtime, kFromRight ? split_words_from_right(runtime, self, most) : split_words(runtime, self, most));
  const std::string_view separator = bound.text(0).view();
  if (separator.empty()) throw Error("empty separator");
  return to_list(runtime, cut_at(self, occurrences(runtime, self.view(), separator, most, kFromRight),
                                 separator.size()));
}

template <bool kFromRight>
Value partition(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, kFromRight ? "rpartition" : "partition", {"sep"}, 1);
  const Text& separator = bound.text(0);
  if (separator.empty()) throw Error("empty separator");
  const auto found = occurrences(runtime, self.view(), separator.view(), 1, kFromRight);
  if (found.empty())
    return to_list(runtime, kFromRight ? std::vector<Text>{{}, {}, self} : std::vector<Text>{self, {}, {}},
                   ListKind::tuple);
  const size_t end = found[0] + separator.size();
  return to_list(runtime, {self.slice(0, found[0]), self.slice(found[0], end), self.slice(end, self.size())},
                 ListKind::tuple);
}

template <bool kLeft, bool kRight>
Value strip_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "strip", {"chars"});
  return runtime.text(strip(self, bound.is_none(0) ? nullptr : &bound.text(0), kLeft, kRight));
}

// The bytes of self[start:end], as find and its like take them; none where start is behind the end.
struct Window {
  size_t begin = 0, end = 0;
  bool valid = true;
};

Window window(const Text& self, const Bound& bound) {
  const std::string_view view = self.view();
  if (bound.is_none(1) && bound.is_none(2)) return {0, view.size()};
  const auto length = static_cast<int64_t>(count_characters(view));
  const auto place = [&](size_t i, int64_t otherwise) {
    const int64_t at = bound.is_none(i) ? otherwise : to_index(*bound.find(i));
    return at < 0 ? std::max<int64_t>(at + length, 0) : at;
  };
  const int64_t start = place(1, 0), end = std::min(place(2, length), length);
  if (start > end) return {0, 0, false};
  return {offset_of(view, static_cast<size_t>(start)), offset_of(view, static_cast<size_t>(end))};
}

// find, rfind, index, rindex.
template <bool kFromRight, bool kMustBeThere>
Value find(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "find", {"sub", "start", "end"}, 1);
  const std::string_view needle = bound.text(0).view();
  const Window where = window(self, bound);
  const std::string_view part = self.view().substr(where.begin, where.end - where.begin);
  std::vector<size_t> found;
  if (where.valid && needle.empty())
    found = {kFromRight ? part.size() : 0};
  else if (where.valid)
    found = occurrences(runtime, part, needle, 1, kFromRight);
  if (found.empty() && kMustBeThere) throw Error("substring not found");
  if (found.empty()) return Value::integer(-1, self.any_given());
  const size_t characters = count_characters(self.view().substr(0, where.begin + found[0]));
  return Value::integer(static_cast<int64_t>(characters), self.any_given());
}

Value count(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "count", {"sub", "start", "end"}, 1);
  const std::string_view needle = bound.text(0).view();
  const Window where = window(self, bound);
  if (!where.valid) return Value::integer(0, self.any_given());
  const std::string_view part = self.view().substr(where.begin, where.end - where.begin);
  const size_t times =
      needle.empty() ? count_characters(part) + 1 : occurrences(runtime, part, needle, -1, false).size();
  return Value::integer(static_cast<int64_t>(times), self.any_given());
}

template <bool kAtEnd>
Value has_affix(Runtime&, const Text& self, const Arguments& arguments) {
  const std::string_view name = kAtEnd ? "endswith" : "startswith";
  const Bound bound(arguments, name, {"prefix", "start", "end"}, 1);
  const Window where = window(self, bound);
  const std::string_view part = self.view().substr(where.begin, where.end - where.begin);
  const auto matches = [&](const Value& affix) {
    require(affix);
    if (!affix.text())
      throw Error(fmt::format("{} first arg must be str or a tuple of str, not {}", name, type_name(affix)));
    const std::string_view text = affix.text()->view();
    return where.valid && (kAtEnd ? part.ends_with(text) : part.starts_with(text));
  };
  if (const auto* list = bound.at(0).list(); list && (*list)->kind == ListKind::tuple)
    return Value(std::any_of((*list)->items.begin(), (*list)->items.end(), matches));
  return Value(matches(bound.at(0)));
}

template <bool kAtEnd>
Value remove_affix(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, kAtEnd ? "removesuffix" : "removeprefix", {"affix"}, 1);
  const std::string_view affix = bound.text(0).view();
  if (kAtEnd && self.view().ends_with(affix)) return runtime.text(self.slice(0, self.size() - affix.size()));
  if (!kAtEnd && self.view().starts_with(affix)) return runtime.text(self.slice(affix.size(), self.size()));
  return runtime.text(self);
}

Value replace_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "replace", {"old", "new", "count"}, 2);
  return runtime.text(replace(runtime, self, bound.text(0), bound.text(1), bound.integer(2, -1)));
}

Value join(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "join", {"iterable"}, 1);
  require(bound.at(0));
  const Items items = iterate(runtime, bound.at(0));
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    const Text* item = items[i].text();
    if (!item)
      throw Error(fmt::format("sequence item {}: expected str instance, {} found", i, type_name(items[i])));
    if (i) out.append(self);
    out.append(*item);
    runtime.meter.handle(item->size() + self.size());
    runtime.meter.check(out.size());
  }
  return runtime.text(std::move(out));
}

Text padded(Runtime& runtime, const Text& text, int64_t left, int64_t right, const Text& fill) {
  left = std::max<int64_t>(left, 0);
  right = std::max<int64_t>(right, 0);
  runtime.meter.check(static_cast<size_t>(std::min<int64_t>(left + right, INT32_MAX)) * fill.size());
  runtime.meter.step(static_cast<uint64_t>(left + right) / 8);
  Text out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(text);
  for (int64_t i = 0; i < right; ++i) out.append(fill);
  return out;
}

// What is left of the width on the left side: Python's center puts the odd one there if the width is odd.
int64_t left_share(int64_t missing, int64_t width) { return missing / 2 + (missing & width & 1); }

template <char kSide>
Value justify(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "center", {"width", "fillchar"}, 1);
  const Text fill = bound.find(1) ? bound.text(1) : Text(" ", false);
  if (count_characters(fill.view()) != 1)
    throw Error("the fill character must be exactly one character long");
  const int64_t width = bound.integer(0, 0);
  const int64_t missing = width - static_cast<int64_t>(count_characters(self.view()));
  const int64_t left = kSide == 'l' ? 0 : kSide == 'r' ? missing : left_share(missing, width);
  return runtime.text(padded(runtime, self, left, missing - left, fill));
}

Value zero_fill(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "zfill", {"width"}, 1);
  const int64_t missing = bound.integer(0, 0) - static_cast<int64_t>(count_characters(self.view()));
  const size_t sign = !self.empty() && (self.view()[0] == '-' || self.view()[0] == '+');
  Text out = self.slice(0, sign);
  out.append(padded(runtime, self.slice(sign, self.size()), missing, 0, Text("0", self.any_given())));
  return runtime.text(std::move(out));
}

Value expand_tabs(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "expandtabs", {"tabsize"});
  const int64_t size = bound.integer(0, 8);
  Text out;
  int64_t column = 0;
  self.each_run([&](std::string_view run, bool given) {
    for (size_t i = 0; i < run.size();) {
      const size_t begin = i;
      const char32_t c = next_character(run, i);
      if (c == '\t') {
        const int64_t spaces = size > 0 ? size - column % size : 0;
        runtime.meter.check(out.size() + static_cast<size_t>(spaces));
        runtime.meter.handle(static_cast<size_t>(spaces));
        out.append(std::string(static_cast<size_t>(spaces), ' '), given);
        column += spaces;
      } else {
        out.append(run.substr(begin, i - begin), given);
        column = c == '\n' || c == '\r' ? 0 : column + 1;
      }
    }
  });
  return runtime.text(std::move(out));
}

Value split_lines_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "splitlines", {"keepends"});
  return to_list(runtime, split_lines(runtime, self, bound.flag(0, false)));
}

// upper, lower, swapcase, casefold: character by character. capitalize and title look at neighbours.
template <std::string (*kMap)(std::string_view)>
Value map_characters(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "upper", {});
  return runtime.text(map_runs(self, kMap));
}
template <std::string (*kMap)(std::string_view)>
Value map_whole(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const Bound bound(arguments, "title", {});
  return runtime.text(kMap(self.view()), self.any_given());
}

Value format_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  return runtime.text(format_braces(runtime, self, arguments));
}

struct Entry {
  std::string_view name;
  TextMethod method;
};

constexpr Entry kMethods[] = {
    {"capitalize", map_whole<capitalize>},
    {"casefold", map_characters<casefold>},
    {"center", justify<'c'>},
    {"count", count},
    {"endswith", has_affix<true>},
    {"expandtabs", expand_tabs},
    {"find", find<false, false>},
    {"format", format_method},
    {"index", find<false, true>},
    {"join", join},
    {"ljust", justify<'l'>},
    {"lower", map_characters<lower>},
    {"lstrip", strip_method<true, false>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace_method},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<'r'>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip_method<false, true>},
    {"split", split<false>},
    {"splitlines", split_lines_method},
    {"startswith", has_affix<false>},
    {"strip", strip_method<true, true>},
    {"swapcase", map_characters<swapcase>},
    {"title", map_whole<title>},
    {"upper", map_characters<upper>},
    {"zfill", zero_fill},
};

}  // namespace

TextMethod find_text_method(std::string_view name) {
  for (const Entry& entry : kMethods)
    if (entry.name == name) return entry.method;
  return nullptr;
}

Text strip(const Text& text, const Text* characters, bool left, bool right) {
  const std::string_view view = text.view();
  std::u32string set;
  if (characters)
    for (size_t i = 0; i < characters->size();) set += next_character(characters->view(), i);
  std::sort(set.begin(), set.end());
  const auto unwanted = [&](char32_t c) {
    return characters ? std::binary_search(set.begin(), set.end(), c) : is_space(c);
  };
  size_t begin = 0, end = view.size();
  while (left && begin < end) {
    size_t next = begin;
    if (!unwanted(next_character(view, next))) break;
    begin = next;
  }
  while (right && end > begin) {
    size_t previous = end;
    if (!unwanted(previous_character(view, previous))) break;
    end = previous;
  }
  return text.slice(begin, end);
}

Text replace(Runtime& runtime, const Text& text, const Text& from, const Text& to, int64_t count) {
  std::vector<size_t> places;
  if (!from.empty()) {
    places = occurrences(runtime, text.view(), from.view(), count, false);
  } else {
    for (size_t i = 0; count < 0 || static_cast<int64_t>(places.size()) < count;) {
      push(runtime, places, i);
      if (i == text.size()) break;
      next_character(text.view(), i);
    }
  }
  Int size = Int{places.size()} * Int{to.size()} + Int{text.size()};
  runtime.meter.check(static_cast<size_t>(std::min<Int>(size, Int{SIZE_MAX / 2})));
  runtime.meter.handle(static_cast<size_t>(size));
  Text out;
  size_t begin = 0;
  for (const size_t place : places) {
    runtime.meter.step();
    out.append(text.slice(begin, place));
    out.append(to);
    begin = place + from.size();
  }
  out.append(text.slice(begin, text.size()));
  return out;
}

std::vector<Text> split_lines(Runtime& runtime, const Text& text, bool keep_ends) {
  runtime.meter.handle(text.size());
  const std::string_view view = text.view();
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t i = 0; i < view.size();) {
    const size_t end = i;
    const char32_t c = next_character(view, i);
    const bool breaks =
        (c >= 0xa && c <= 0xd) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!breaks) continue;
    if (c == '\r' && i < view.size() && view[i] == '\n') ++i;
    push(runtime, lines, text.slice(begin, keep_ends ? i : end));
    begin = i;
  }
  if (begin < view.size()) lines.push_back(text.slice(begin, view.size()));
  return lines;
}

std::vector<Text> split_from_right(Runtime& runtime, const Text& text, std::string_view separator,
                                   int64_t most) {
  return cut_at(text, occurrences(runtime, text.view(), separator, most, true), separator.size());
}

Text centered(Runtime& runtime, const Text& text, int64_t width) {
  const int64_t missing = width - static_cast<int64_t>(count_characters(text.view()));
  const int64_t left = left_share(missing, width);
  return padded(runtime, text, left, missing - left, Text(" ", false));
}

}  // namespace minke::jinja
