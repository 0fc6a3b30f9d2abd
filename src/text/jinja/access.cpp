// Attributes, items, slices and iteration.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/characters.h"
#include "text/jinja/runtime.h"

namespace minke::jinja {
namespace {

std::string object_name(const Value& value) {
  return value.is_none() ? "None" : fmt::format("{} object", type_name(value));
}

Value no_attribute(const Value& object, std::string_view name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", object_name(object), name));
}

const List* indexable(const Value& value) {
  const auto* list = value.list();
  return list && (*list)->kind <= ListKind::group ? list->get() : nullptr;
}

// What Python's getattr finds: a method, or a part of Jinja's own objects.
std::optional<Value> own_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (Namespace* const* space = std::get_if<Namespace*>(&object.data())) {
    for (const auto& [attribute, value] : (*space)->attributes)
      if (attribute == name) return value;
    return std::nullopt;
  }
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&object.data())) {
    Value value = loop_attribute(runtime, **loop, name);
    if (!value.is_undefined()) return value;
  }
  if (const List* list = indexable(object); list && list->kind == ListKind::group) {
    if (name == "grouper") return list->items[0];
    if (name == "list") return list->items[1];
  }
  if (name.starts_with("__") || is_mutator(object, name))
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(object)));
  if (has_method(object, name))
    return Value(std::make_shared<const Method>(Method{object, std::string(name)}));
  return std::nullopt;
}

std::optional<int64_t> as_index(const Value& value) {
  const auto number = as_number(value);
  if (!number || number->is_real) return std::nullopt;
  return static_cast<int64_t>(std::clamp<Int>(number->integer, INT64_MIN / 2, INT64_MAX / 2));
}

// Where the characters of a text are. In ASCII a character is a byte.
class Characters {
 public:
  explicit Characters(std::string_view text) : text_(text), ascii_(is_ascii(text)) {}
  int64_t count() const { return static_cast<int64_t>(ascii_ ? text_.size() : count_characters(text_)); }
  size_t offset(int64_t index) const {
    return ascii_ ? static_cast<size_t>(index) : offset_of(text_, static_cast<size_t>(index));
  }

 private:
  std::string_view text_;
  bool ascii_;
};

std::optional<Value> index_into(Runtime& runtime, const Value& object, int64_t index) {
  if (const Text* text = object.text()) {
    runtime.meter.handle(text->size());
    const Characters characters(text->view());
    const int64_t count = characters.count();
    if (index < 0) index += count;
    if (index < 0 || index >= count) return std::nullopt;
    return runtime.text(text->slice(characters.offset(index), characters.offset(index + 1)));
  }
  if (const List* list = indexable(object)) {
    const auto count = static_cast<int64_t>(list->items.size());
    if (index < 0) index += count;
    if (index < 0 || index >= count) return std::nullopt;
    return list->items[static_cast<size_t>(index)];
  }
  if (const Range* range = object.range()) {
    if (index < 0) index += range->size();
    if (index < 0 || index >= range->size()) return std::nullopt;
    return Value::integer(range->start + index * range->step);
  }
  return std::nullopt;
}

struct Span {
  int64_t start, step, count;
};

// Python's slice.indices.
Span resolve(int64_t length, std::optional<int64_t> start, std::optional<int64_t> stop,
             std::optional<int64_t> step) {
  const int64_t stride = step.value_or(1);
  if (stride == 0) throw Error("slice step cannot be zero");
  const int64_t lowest = stride > 0 ? 0 : -1, highest = stride > 0 ? length : length - 1;
  const auto place = [&](std::optional<int64_t> at, int64_t otherwise) {
    if (!at) return otherwise;
    return std::clamp(*at < 0 ? *at + length : *at, lowest, highest);
  };
  const int64_t from = place(start, stride > 0 ? lowest : highest);
  const int64_t to = place(stop, stride > 0 ? highest : lowest);
  return {from, stride, Range{from, to, stride}.size()};
}

Value slice_text(Runtime& runtime, const Text& text, std::optional<int64_t> start,
                 std::optional<int64_t> stop, std::optional<int64_t> step) {
  runtime.meter.handle(text.size());
  const Characters characters(text.view());
  const Span span = resolve(characters.count(), start, stop, step);
  if (span.count == 0) return runtime.text(Text());
  if (span.step == 1)
    return runtime.text(
        text.slice(characters.offset(span.start), characters.offset(span.start + span.count)));
  runtime.meter.check(text.size() * sizeof(size_t));
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); next_character(text.view(), i)) offsets.push_back(i);
  offsets.push_back(text.size());
  Text out;
  for (int64_t k = 0; k < span.count; ++k) {
    runtime.meter.step();
    const auto i = static_cast<size_t>(span.start + k * span.step);
    out.append(text.slice(offsets[i], offsets[i + 1]));
  }
  return runtime.text(std::move(out));
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  require(object);
  if (auto own = own_attribute(runtime, object, name)) return *std::move(own);
  if (const auto* dict = object.dict()) {
    runtime.meter.step((*dict)->members.size() / 8);
    if (const Value* value = (*dict)->find(name)) return *value;
  }
  return no_attribute(object, name);
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  require(object);
  if (const auto* dict = object.dict()) {
    runtime.meter.step((*dict)->members.size() / 8);
    if (const Text* text = key.text()) {
      if (const Value* value = (*dict)->find(text->view())) return *value;
    } else {
      for (const Member& member : (*dict)->members)
        if (equal(runtime, member.first, key)) return member.second;
    }
  } else if (const auto index = as_index(key)) {
    if (auto value = index_into(runtime, object, *index)) return *std::move(value);
  }
  if (const Text* text = key.text()) {
    if (auto own = own_attribute(runtime, object, text->view())) return *std::move(own);
    return no_attribute(object, text->view());
  }
  return Value::undefined(
      fmt::format("{} has no element {}", object_name(object), representation(runtime, key).view()));
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  require(object);
  std::optional<int64_t> bounds[3];
  const Value* parts[] = {&start, &stop, &step};
  for (int i = 0; i < 3; ++i) {
    bounds[i] = as_index(*parts[i]);
    if (!bounds[i] && !parts[i]->is_none()) throw Error("slice indices must be integers or None");
  }
  if (const Text* text = object.text()) return slice_text(runtime, *text, bounds[0], bounds[1], bounds[2]);
  if (const Range* range = object.range()) {
    const Span span = resolve(range->size(), bounds[0], bounds[1], bounds[2]);
    const int64_t first = range->start + span.start * range->step;
    const int64_t stride = span.count < 2 ? 1 : range->step * span.step;  // alone, its size may be anything
    return Value(Range{first, first + stride * span.count, stride});
  }
  const List* list = indexable(object);
  if (!list) throw Error(fmt::format("a {} cannot be sliced", object_name(object)));
  const Span span = resolve(length_of(object), bounds[0], bounds[1], bounds[2]);
  runtime.meter.step(static_cast<uint64_t>(span.count));
  runtime.meter.check(static_cast<size_t>(span.count) * sizeof(Value));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(span.count));
  for (int64_t k = 0; k < span.count; ++k)
    items.push_back(list->items[static_cast<size_t>(span.start + k * span.step)]);
  return runtime.list(std::move(items), list->kind == ListKind::list ? ListKind::list : ListKind::tuple);
}

int64_t length_of(const Value& value) {
  if (const Text* text = value.text()) return Characters(text->view()).count();
  if (const auto* list = value.list(); list && (*list)->kind != ListKind::generator)
    return static_cast<int64_t>((*list)->items.size());
  if (const auto* dict = value.dict()) return static_cast<int64_t>((*dict)->members.size());
  if (const Range* range = value.range()) return range->size();
  if (value.is_undefined()) return 0;
  throw Error(fmt::format("object of type '{}' has no len()", type_name(value)));
}

Items iterate(Runtime& runtime, const Value& value) {
  if (const auto* list = value.list()) {
    if ((*list)->kind != ListKind::generator) return Items(*list);
    const auto& items = (*list)->items;
    const size_t taken = std::exchange((*list)->taken, items.size());
    if (taken == 0) return Items(*list);
    const auto rest = items.begin() + static_cast<std::ptrdiff_t>(std::min(taken, items.size()));
    return Items(*runtime.list(std::vector<Value>(rest, items.end())).list());
  }
  std::vector<Value> items;
  if (const Text* text = value.text()) {
    runtime.meter.check(text->size());
    for (size_t i = 0; i < text->size();) {
      const size_t begin = i;
      next_character(text->view(), i);
      items.push_back(runtime.text(text->slice(begin, i)));
    }
  } else if (const auto* dict = value.dict()) {
    for (const Member& member : (*dict)->members) items.push_back(member.first);
  } else if (const Range* range = value.range()) {
    const int64_t count = range->size();
    runtime.meter.check(static_cast<size_t>(count) * sizeof(Value));
    for (int64_t i = 0; i < count; ++i) items.push_back(Value::integer(range->start + i * range->step));
  } else if (!value.is_undefined()) {
    throw Error(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return Items(*runtime.list(std::move(items)).list());
}

}  // namespace minke::jinja
