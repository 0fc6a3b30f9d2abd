#include "text/jinja/loop.h"

#include <algorithm>

namespace minke::jinja {

Value loop_attribute(Runtime&, const Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index), length = static_cast<int64_t>(loop.items.size());
  const auto item_at = [&](int64_t i, const char* none) {
    return i >= 0 && i < length ? loop.items[static_cast<size_t>(i)] : Value::undefined(none);
  };
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(length - index);
  if (name == "revindex0") return Value::integer(length - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == length);
  if (name == "length") return Value::integer(length);
  if (name == "depth") return Value::integer(loop.depth + 1);
  if (name == "depth0") return Value::integer(loop.depth);
  if (name == "previtem") return item_at(index - 1, "there is no previous item");
  if (name == "nextitem") return item_at(index + 1, "there is no next item");
  return Value::undefined("");
}

bool is_loop_method(std::string_view name) { return name == "cycle" || name == "changed"; }

Value call_loop_method(Runtime& runtime, Loop& loop, std::string_view name, const Arguments& arguments) {
  const auto& values = arguments.positional;
  if (!arguments.named.empty()) throw Error("cycle() and changed() take no keyword arguments");
  if (name == "cycle") {
    if (values.empty()) throw Error("no items for cycling given");
    return values[loop.index % values.size()];
  }
  if (loop.ended)
    throw Error("changed() of a loop that has ended");  // kept values could hold the loop itself
  const bool same = loop.was_asked && values.size() == loop.seen.size() &&
                    std::equal(values.begin(), values.end(), loop.seen.begin(),
                               [&](const Value& a, const Value& b) { return equal(runtime, a, b); });
  loop.seen = values;
  loop.was_asked = true;
  return Value(!same);
}

}  // namespace minke::jinja
