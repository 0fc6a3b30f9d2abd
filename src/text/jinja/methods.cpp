// Methods of str, list, tuple and dict.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/characters.h"
#include "text/jinja/loop.h"
#include "text/jinja/text_methods.h"

namespace minke::jinja {
namespace {

template <size_t N>
bool is_one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kClasses[] = {"alnum", "alpha",   "ascii",     "decimal", "digit", "identifier",
                                         "lower", "numeric", "printable", "space",   "title", "upper"};
constexpr std::string_view kRefusedTextMethods[] = {"encode", "format_map", "maketrans", "translate"};
constexpr std::string_view kListMethods[] = {"count", "index", "copy"};
constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values", "copy"};
constexpr std::string_view kListMutators[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem", "setdefault", "update"};

bool is_text_class(std::string_view name) {
  return name.starts_with("is") && is_one_of(name.substr(2), kClasses);
}

bool has_list_methods(const Value& value) {
  const auto* list = value.list();
  return list && (*list)->kind <= ListKind::group;
}

Value call_text_method(Runtime& runtime, const Text& self, std::string_view name,
                       const Arguments& arguments) {
  runtime.meter.handle(self.size());
  if (const TextMethod method = find_text_method(name)) return method(runtime, self, arguments);
  if (is_text_class(name)) {
    const Bound bound(arguments, name, {});
    return Value(is_class(self.view(), name.substr(2)));
  }
  throw Error(fmt::format("the method str.{} is not for templates", name));
}

Value call_list_method(Runtime& runtime, const Value& self, std::string_view name,
                       const Arguments& arguments) {
  const auto& items = (*self.list())->items;
  if (name == "copy") {
    const Bound bound(arguments, name, {});
    return self;
  }
  const Bound bound(arguments, name, {"value", "start", "stop"}, 1);
  const auto size = static_cast<int64_t>(items.size());
  const auto place = [&](size_t i, int64_t otherwise) {
    const int64_t at = bound.integer(i, otherwise);
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const int64_t stop = place(2, size);
  int64_t times = 0;
  for (int64_t i = place(1, 0); i < stop; ++i) {
    if (!equal(runtime, items[static_cast<size_t>(i)], bound.at(0))) continue;
    if (name == "index") return Value::integer(i);
    ++times;
  }
  if (name == "index")
    throw Error(fmt::format("{} is not in list", representation(runtime, bound.at(0)).view()));
  return Value::integer(times);
}

Value call_dict_method(Runtime& runtime, const Value& self, std::string_view name,
                       const Arguments& arguments) {
  const Dict& dict = **self.dict();
  if (name == "get") {
    const Bound bound(arguments, name, {"key", "default"}, 1);
    for (const Member& member : dict.members)
      if (equal(runtime, member.first, bound.at(0))) return member.second;
    return bound.find(1) ? bound.at(1) : Value(None{});
  }
  const Bound bound(arguments, name, {});
  if (name == "copy") return self;
  std::vector<Value> items;
  items.reserve(dict.members.size());
  for (const auto& [key, value] : dict.members) {
    if (name == "keys")
      items.push_back(key);
    else if (name == "values")
      items.push_back(value);
    else
      items.push_back(runtime.list({key, value}, ListKind::tuple));
  }
  const ListKind kind = name == "keys"     ? ListKind::keys
                        : name == "values" ? ListKind::values
                                           : ListKind::items;
  return runtime.list(std::move(items), kind);
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  if (self.text())
    return find_text_method(name) || is_text_class(name) || is_one_of(name, kRefusedTextMethods);
  if (has_list_methods(self))
    return is_one_of(name, kListMethods) && (name != "copy" || (*self.list())->kind == ListKind::list);
  if (std::holds_alternative<std::shared_ptr<Loop>>(self.data())) return is_loop_method(name);
  return self.dict() && is_one_of(name, kDictMethods);
}

bool is_mutator(const Value& self, std::string_view name) {
  if (self.dict()) return is_one_of(name, kDictMutators);
  return self.list() && (*self.list())->kind == ListKind::list && is_one_of(name, kListMutators);
}

Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments) {
  if (const Text* text = self.text()) return call_text_method(runtime, *text, name, arguments);
  if (self.dict()) return call_dict_method(runtime, self, name, arguments);
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&self.data()))
    return call_loop_method(runtime, **loop, name, arguments);
  MINKE_CHECK(has_list_methods(self));
  return call_list_method(runtime, self, name, arguments);
}

}  // namespace minke::jinja
