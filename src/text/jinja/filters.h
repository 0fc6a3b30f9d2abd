#pragma once
// The filters by subject; find_filter (runtime.h) asks each.

#include "text/jinja/runtime.h"

namespace minke::jinja {

Filter find_text_filter(std::string_view name);
Filter find_number_filter(std::string_view name);
Filter find_sequence_filter(std::string_view name);
Filter find_selection_filter(std::string_view name);

struct FilterEntry {
  std::string_view name;
  Filter filter;
};

template <size_t N>
Filter find_in(const FilterEntry (&entries)[N], std::string_view name) {
  for (const FilterEntry& entry : entries)
    if (entry.name == name) return entry.filter;
  return nullptr;
}

// Reads the attribute "a.b.0" of an item, or several "a.b,c"; the item itself where there is no attribute.
class AttributeGetter {
 public:
  AttributeGetter(Runtime& runtime, const Value* attribute, const Value* otherwise = nullptr);

  Value get(const Value& item) const;
  // What one sorts by: all attributes, texts in lower case unless the case matters.
  std::vector<Value> keys(const Value& item, bool case_sensitive) const;

 private:
  Value follow(const std::vector<Value>& path, Value item) const;

  Runtime& runtime_;
  std::vector<Value> whole_;               // the path of get
  std::vector<std::vector<Value>> paths_;  // those of keys
  const Value* otherwise_;
};

Value fold_case(Runtime& runtime, const Value& value, bool case_sensitive);

}  // namespace minke::jinja
