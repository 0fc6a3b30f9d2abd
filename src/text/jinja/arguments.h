#pragma once
// Arguments of a built-in by the names of its parameters.

#include <initializer_list>

#include "text/jinja/runtime.h"

namespace minke::jinja {

class Bound {
 public:
  // Throws Error in Python's words: too many, repeated, unknown, or fewer than the first `required`.
  Bound(const Arguments& arguments, std::string_view function, std::initializer_list<std::string_view> names,
        size_t required = 0);

  const Value* find(size_t i) const { return values_[i]; }                 // null where not passed
  const Value& at(size_t i) const { return *values_[i]; }                  // of a required one
  bool is_none(size_t i) const { return !find(i) || find(i)->is_none(); }  // not passed, or none
  bool flag(size_t i, bool otherwise) const { return find(i) ? truth(*find(i)) : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;
  const Text& text(size_t i) const;  // of one that is there

 private:
  std::string_view function_;
  std::vector<const Value*> values_;
};

int64_t to_index(
    const Value& value);  // an int or bool as Python takes it for a size or place, clamped to 62 bits

}  // namespace minke::jinja
