#include "text/jinja/arguments.h"

#include <algorithm>

#include <fmt/format.h>

namespace minke::jinja {

Bound::Bound(const Arguments& arguments, std::string_view function,
             std::initializer_list<std::string_view> names, size_t required)
    : function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size())
    throw Error(fmt::format("{}() takes at most {} arguments, {} were given", function, names.size(),
                            arguments.positional.size()));
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw Error(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    const Value*& slot = values_[static_cast<size_t>(found - names.begin())];
    if (slot) throw Error(fmt::format("{}() got multiple values for argument '{}'", function, name));
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i)
    if (!values_[i]) throw Error(fmt::format("{}() misses its argument '{}'", function, names.begin()[i]));
}

int64_t to_index(const Value& value) {
  require(value);
  const auto number = as_number(value);
  if (!number || number->is_real)
    throw Error(fmt::format("'{}' object cannot be interpreted as an integer", type_name(value)));
  return static_cast<int64_t>(std::clamp<Int>(number->integer, INT64_MIN / 2, INT64_MAX / 2));
}

int64_t Bound::integer(size_t i, int64_t otherwise) const { return find(i) ? to_index(*find(i)) : otherwise; }

const Text& Bound::text(size_t i) const {
  const Text* text = at(i).text();
  if (text) return *text;
  require(at(i));
  throw Error(fmt::format("{}() argument {} must be str, not {}", function_, i + 1, type_name(at(i))));
}

}  // namespace minke::jinja
