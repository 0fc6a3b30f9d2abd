// Names every template can call.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/arguments.h"

namespace minke::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // Jinja's sandbox has the same limit

Value range(Runtime&, const Arguments& arguments) {
  const Bound bound(arguments, "range", {"start", "stop", "step"}, 1);
  const bool only_stop = !bound.find(1);
  const Range range{only_stop ? 0 : bound.integer(0, 0), bound.integer(only_stop ? 0 : 1, 0),
                    bound.integer(2, 1)};
  if (range.step == 0) throw Error("range() arg 3 must not be zero");
  for (const int64_t part : {range.start, range.stop, range.step})
    if (part > int64_t{1} << 40 || part < -(int64_t{1} << 40))
      throw Error("range() with a number beyond 2**40");
  if (range.size() > kMaxRange)
    throw Error(fmt::format("a range of {} items, at most {} are allowed", range.size(), kMaxRange));
  return Value(range);
}

// dict(mapping or pairs, key=value, ...)
std::vector<Member> collect_members(Runtime& runtime, const Arguments& arguments, std::string_view function) {
  if (arguments.positional.size() > 1)
    throw Error(fmt::format("{} expected at most 1 argument, got {}", function, arguments.positional.size()));
  std::vector<Member> members;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    require(source);
    if (source.dict()) {
      members = (*source.dict())->members;
    } else {
      for (const Value& pair : iterate(runtime, source)) {
        const Items parts = iterate(runtime, pair);
        if (parts.size() != 2) throw Error(fmt::format("{} wants pairs of key and value", function));
        members.emplace_back(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) members.emplace_back(runtime.text(name), value);
  return members;
}

Value dict(Runtime& runtime, const Arguments& arguments) {
  return runtime.dict(collect_members(runtime, arguments, "dict"));
}

Value make_namespace(Runtime& runtime, const Arguments& arguments) {
  const Value members = runtime.dict(collect_members(runtime, arguments, "namespace"));
  Namespace* space = runtime.make_namespace();
  for (const auto& [key, value] : (*members.dict())->members) {
    if (!key.text()) throw Error("namespace() wants strings as names");
    space->attributes.emplace_back(key.text()->view(), value);
  }
  return Value(space);
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(arguments, "raise_exception", {"message"}, 1);
  throw Error(std::string(to_text(runtime, bound.at(0)).view()));
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '%' && i + 1 < text.size()) {
      const std::string_view directive = std::string_view(text).substr(i, 2);
      out += directive == from ? to : directive;
      i += 2;
    } else {
      out += text[i++];
    }
  }
  return out;
}

Value strftime_now(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(arguments, "strftime_now", {"format"}, 1);
  const Text& format = bound.text(0);
  if (!runtime.now) throw Error("the template asks for the time, and none was given");
  if (format.size() > 1000) throw Error("the format of strftime_now() is longer than 1000 bytes");
  if (format.view().find('\0') != std::string_view::npos) throw Error("embedded null character");
  // What C's strftime has not: microseconds. And what a time without a zone has not: a zone.
  std::string text(format.view());
  text = replaced(replaced(replaced(std::move(text), "%f", "000000"), "%z", ""), "%Z", "");
  if (text.empty()) return runtime.text(Text());
  char out[8192];
  const size_t size = std::strftime(out, sizeof out, text.c_str(), &*runtime.now);
  return runtime.text(std::string(out, size), format.any_given());
}

constexpr Function kFunctions[] = {
    {"dict", dict},   {"namespace", make_namespace},  {"raise_exception", raise_exception},
    {"range", range}, {"strftime_now", strftime_now},
};

}  // namespace

const Function* find_function(std::string_view name) {
  for (const Function& function : kFunctions)
    if (function.name == name) return &function;
  return nullptr;
}

}  // namespace minke::jinja
