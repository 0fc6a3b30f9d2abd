#include "text/jinja/filters.h"

#include <fmt/format.h>

#include "text/jinja/characters.h"
#include "text/jinja/text_methods.h"

namespace minke::jinja {
namespace {

std::vector<Value> parse_path(Runtime& runtime, const Value& attribute, std::string_view part) {
  if (!attribute.text()) return {attribute};
  std::vector<Value> path;
  for (size_t begin = 0; begin <= part.size();) {
    const size_t end = std::min(part.find('.', begin), part.size());
    const std::string_view name = part.substr(begin, end - begin);
    const bool digits =
        !name.empty() && name.size() < 18 && name.find_first_not_of("0123456789") == name.npos;
    path.push_back(digits ? Value::integer(std::stoll(std::string(name))) : runtime.text(std::string(name)));
    begin = end + 1;
  }
  return path;
}

}  // namespace

AttributeGetter::AttributeGetter(Runtime& runtime, const Value* attribute, const Value* otherwise)
    : runtime_(runtime), otherwise_(otherwise && otherwise->is_none() ? nullptr : otherwise) {
  if (!attribute || attribute->is_none()) {
    paths_.emplace_back();
    return;
  }
  const std::string_view all = attribute->text() ? attribute->text()->view() : std::string_view();
  whole_ = parse_path(runtime, *attribute, all);
  for (size_t begin = 0; begin <= all.size();) {
    const size_t end = std::min(all.find(',', begin), all.size());
    paths_.push_back(parse_path(runtime, *attribute, all.substr(begin, end - begin)));
    begin = end + 1;
  }
}

Value AttributeGetter::follow(const std::vector<Value>& path, Value item) const {
  for (const Value& part : path) {
    runtime_.meter.step();
    item = get_item(runtime_, item, part);
    if (otherwise_ && item.is_undefined()) item = *otherwise_;
  }
  return item;
}

Value AttributeGetter::get(const Value& item) const { return follow(whole_, item); }

std::vector<Value> AttributeGetter::keys(const Value& item, bool case_sensitive) const {
  std::vector<Value> keys;
  for (const auto& path : paths_) keys.push_back(fold_case(runtime_, follow(path, item), case_sensitive));
  return keys;
}

Value fold_case(Runtime& runtime, const Value& value, bool case_sensitive) {
  const Text* text = value.text();
  return text && !case_sensitive ? runtime.text(map_runs(*text, lower)) : value;
}

Filter find_filter(std::string_view name) {
  for (const auto find : {find_text_filter, find_number_filter, find_sequence_filter, find_selection_filter})
    if (const Filter filter = find(name)) return filter;
  return nullptr;
}

}  // namespace minke::jinja
