// Filters that apply a filter or a test to every item.

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"

namespace minke::jinja {
namespace {

std::string_view name_argument(const Arguments& arguments, size_t i, std::string_view what) {
  const Text* text = i < arguments.positional.size() ? arguments.positional[i].text() : nullptr;
  if (!text) throw Error(fmt::format("the {} must be a string", what));
  return text->view();
}

Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

Value map(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  std::vector<Value> out;
  if (!truth(subject)) return runtime.list({}, ListKind::generator);
  if (arguments.positional.empty()) {
    const Bound bound(arguments, "map", {"attribute", "default"}, 1);
    const AttributeGetter attribute(runtime, bound.find(0), bound.find(1));
    for (const Value& item : iterate(runtime, subject)) out.push_back(attribute.get(item));
    return runtime.list(std::move(out), ListKind::generator);
  }
  const std::string_view name = name_argument(arguments, 0, "filter's name of map()");
  const Filter filter = find_filter(name);
  if (!filter) throw Error(fmt::format("No filter named '{}'.", name));
  const Arguments rest = without_first(arguments, 1);
  Meter::Level level(runtime.meter);  // map('map', 'map', ...)
  for (const Value& item : iterate(runtime, subject)) {
    runtime.meter.step();
    out.push_back(filter(runtime, item, rest));
  }
  return runtime.list(std::move(out), ListKind::generator);
}

// select, reject, selectattr, rejectattr
template <bool kWanted, bool kAttribute>
Value choose(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  if (!truth(subject)) return runtime.list({}, ListKind::generator);
  if (kAttribute && arguments.positional.empty()) throw Error("Missing parameter for attribute name");
  const AttributeGetter attribute(runtime, kAttribute ? &arguments.positional[0] : nullptr);
  Test test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kAttribute) {
    const std::string_view name = name_argument(arguments, kAttribute, "test's name");
    test = find_test(name);
    if (!test) throw Error(fmt::format("No test named '{}'.", name));
    rest = without_first(arguments, kAttribute + 1);
  }
  std::vector<Value> out;
  for (const Value& item : iterate(runtime, subject)) {
    runtime.meter.step();
    const Value tested = attribute.get(item);
    if ((test ? test(runtime, tested, rest) : truth(tested)) == kWanted) out.push_back(item);
  }
  return runtime.list(std::move(out), ListKind::generator);
}

constexpr FilterEntry kFilters[] = {
    {"map", map},
    {"reject", choose<false, false>},
    {"rejectattr", choose<false, true>},
    {"select", choose<true, false>},
    {"selectattr", choose<true, true>},
};

}  // namespace

Filter find_selection_filter(std::string_view name) { return find_in(kFilters, name); }

}  // namespace minke::jinja
