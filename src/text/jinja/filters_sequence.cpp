// Filters that look at the items of a value.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/characters.h"
#include "text/jinja/filters.h"

namespace minke::jinja {
namespace {

Value otherwise(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "default", {"default_value", "boolean"});
  if (!subject.is_undefined() && !(bound.flag(1, false) && !truth(subject))) return subject;
  if (bound.find(0)) return bound.at(0);
  return Value(std::make_shared<const TextObject>());
}

Value length(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "length", {});
  if (subject.text()) runtime.meter.handle(subject.text()->size());
  return Value::integer(length_of(subject), subject.given());
}

Value to_list(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "list", {});
  const Items items = iterate(runtime, subject);
  return runtime.list({items.begin(), items.end()});
}

Value first(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "first", {});
  if (const Text* text = subject.text(); text && !text->empty()) {
    size_t end = 0;
    next_character(text->view(), end);
    return runtime.text(text->slice(0, end));
  }
  if (const auto* list = subject.list(); list && (*list)->kind == ListKind::generator) {
    if ((*list)->taken < (*list)->items.size()) return (*list)->items[(*list)->taken++];
  } else if (const Items items = iterate(runtime, subject); !items.empty()) {
    return items[0];
  }
  return Value::undefined("No first item, sequence was empty.");
}

Value last(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "last", {});
  if (const Text* text = subject.text(); text && !text->empty()) {
    size_t begin = text->size();
    previous_character(text->view(), begin);
    return runtime.text(text->slice(begin, text->size()));
  }
  if (const auto* list = subject.list(); list && (*list)->kind == ListKind::generator)
    throw Error("'generator' object is not reversible", {}, "put | list before | last");
  const Items items = iterate(runtime, subject);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items[items.size() - 1];
}

Value reverse(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "reverse", {});
  if (subject.text()) return get_slice(runtime, subject, Value(), Value(), Value::integer(-1));
  const Items items = iterate(runtime, subject);
  const bool generator = subject.list() && (*subject.list())->kind == ListKind::generator;
  return runtime.list({std::reverse_iterator(items.end()), std::reverse_iterator(items.begin())},
                      generator ? ListKind::list : ListKind::generator);  // as Python: it cannot go backwards
}

Value join(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "join", {"d", "attribute"});
  const Text separator = bound.find(0) ? to_text(runtime, bound.at(0)) : Text();
  const AttributeGetter attribute(runtime, bound.find(1));
  Text out;
  bool is_first = true;
  for (const Value& item : iterate(runtime, subject)) {
    if (!std::exchange(is_first, false)) out.append(separator);
    const Text text = to_text(runtime, attribute.get(item));
    out.append(text);
    runtime.meter.handle(text.size() + separator.size() + 32);
    runtime.meter.check(out.size());
  }
  return runtime.text(std::move(out));
}

Value items(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "items", {});
  if (subject.is_undefined()) return runtime.list({}, ListKind::generator);
  if (!subject.dict()) throw Error("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const auto& [key, value] : (*subject.dict())->members)
    pairs.push_back(runtime.list({key, value}, ListKind::tuple));
  return runtime.list(std::move(pairs), ListKind::generator);
}

// Items with what they are sorted by.
struct Keyed {
  std::vector<Value> keys;
  Value item;
};

std::vector<Keyed> keyed(Runtime& runtime, const Value& subject, const AttributeGetter& attribute,
                         bool case_sensitive) {
  const Items items = iterate(runtime, subject);
  runtime.meter.check(items.size() * (sizeof(Keyed) + sizeof(Value)));
  std::vector<Keyed> out;
  for (const Value& item : items) out.push_back({attribute.keys(item, case_sensitive), item});
  return out;
}

// Several keys are compared as Python's lists are: what is equal is not asked which is less.
bool before(Runtime& runtime, const Keyed& a, const Keyed& b, bool one_key) {
  if (one_key) return less(runtime, a.keys[0], b.keys[0]);
  for (size_t i = 0; i < a.keys.size(); ++i)
    if (!equal(runtime, a.keys[i], b.keys[i])) return less(runtime, a.keys[i], b.keys[i]);
  return false;
}

// As Python's sorted: stable, also when reversed.
void sort_keyed(Runtime& runtime, std::vector<Keyed>& all, bool reversed, bool one_key) {
  std::stable_sort(all.begin(), all.end(), [&](const Keyed& a, const Keyed& b) {
    return reversed ? before(runtime, b, a, one_key) : before(runtime, a, b, one_key);
  });
}

Value to_items(Runtime& runtime, std::vector<Keyed> all) {
  std::vector<Value> out;
  for (Keyed& one : all) out.push_back(std::move(one.item));
  return runtime.list(std::move(out));
}

Value sort(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "sort", {"reverse", "case_sensitive", "attribute"});
  const AttributeGetter attribute(runtime, bound.find(2));
  std::vector<Keyed> all = keyed(runtime, subject, attribute, bound.flag(1, false));
  sort_keyed(runtime, all, bound.flag(0, false), false);
  return to_items(runtime, std::move(all));
}

Value sort_dict(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "dictsort", {"case_sensitive", "by", "reverse"});
  require(subject);
  if (!subject.dict()) throw Error(fmt::format("dictsort() wants a dict, not {}", type_name(subject)));
  const std::string_view by = bound.find(1) ? bound.text(1).view() : "key";
  if (by != "key" && by != "value") throw Error("You can only sort by either \"key\" or \"value\"");
  std::vector<Keyed> all;
  for (const auto& [key, value] : (*subject.dict())->members)
    all.push_back({{fold_case(runtime, by == "key" ? key : value, bound.flag(0, false))},
                   runtime.list({key, value}, ListKind::tuple)});
  sort_keyed(runtime, all, bound.flag(2, false), true);
  return to_items(runtime, std::move(all));
}

template <bool kGreatest>
Value extreme(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, kGreatest ? "max" : "min", {"case_sensitive", "attribute"});
  const AttributeGetter attribute(runtime, bound.find(1));
  const Items items = iterate(runtime, subject);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    return fold_case(runtime, attribute.get(item), bound.flag(0, false));
  };
  size_t best = 0;
  Value best_key = key(items[0]);
  for (size_t i = 1; i < items.size(); ++i) {
    Value candidate = key(items[i]);
    if (kGreatest ? !less(runtime, best_key, candidate) : !less(runtime, candidate, best_key)) continue;
    best = i;
    best_key = std::move(candidate);
  }
  return items[best];
}

Value unique(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "unique", {"case_sensitive", "attribute"});
  const AttributeGetter attribute(runtime, bound.find(1));
  std::vector<Value> seen, kept;
  for (const Value& item : iterate(runtime, subject)) {
    Value key = fold_case(runtime, attribute.get(item), bound.flag(0, false));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(runtime, key, other); }))
      continue;
    require_hashable(key);
    seen.push_back(std::move(key));
    kept.push_back(item);
  }
  return runtime.list(std::move(kept), ListKind::generator);
}

Value group_by(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "groupby", {"attribute", "default", "case_sensitive"}, 1);
  const AttributeGetter attribute(runtime, bound.find(0), bound.find(1));
  std::vector<Keyed> all;
  for (const Value& item : iterate(runtime, subject))
    all.push_back({{fold_case(runtime, attribute.get(item), bound.flag(2, false))}, item});
  sort_keyed(runtime, all, false, true);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    std::vector<Value> members;
    for (; end < all.size() && equal(runtime, all[end].keys[0], all[begin].keys[0]); ++end)
      members.push_back(all[end].item);
    if (end == begin) members.push_back(all[end++].item);  // a NaN is unequal to itself
    groups.push_back(
        runtime.list({attribute.get(all[begin].item), runtime.list(std::move(members))}, ListKind::group));
    begin = end;
  }
  return runtime.list(std::move(groups));
}

Value sum(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "sum", {"attribute", "start"});
  const AttributeGetter attribute(runtime, bound.find(0));
  Value total = bound.find(1) ? bound.at(1) : Value::integer(0);
  if (total.text()) throw Error("sum() can't sum strings", {}, "use | join");
  for (const Value& item : iterate(runtime, subject))
    total = compute(runtime, Op::add, total, attribute.get(item));
  return total;
}

Value batch(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "batch", {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 0);
  std::vector<Value> batches, current;
  for (const Value& item : iterate(runtime, subject)) {
    if (static_cast<int64_t>(current.size()) == size)
      batches.push_back(runtime.list(std::exchange(current, {})));
    current.push_back(item);
  }
  if (!current.empty()) {
    if (!bound.is_none(1) && static_cast<int64_t>(current.size()) < size) {
      runtime.meter.check(static_cast<size_t>(std::min<int64_t>(size, INT32_MAX)) * sizeof(Value));
      current.resize(static_cast<size_t>(size), bound.at(1));
    }
    batches.push_back(runtime.list(std::move(current)));
  }
  return runtime.list(std::move(batches), ListKind::generator);
}

Value slice(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "slice", {"slices", "fill_with"}, 1);
  const Items all = iterate(runtime, subject);
  const int64_t slices = bound.integer(0, 0), length = static_cast<int64_t>(all.size());
  if (slices == 0) throw Error("integer division or modulo by zero");
  runtime.meter.step(static_cast<uint64_t>(std::max<int64_t>(slices, 0)));
  std::vector<Value> parts;
  for (int64_t i = 0, begin = 0; i < slices; ++i) {
    const bool extra = i < length % slices;
    const int64_t end = begin + length / slices + extra;
    std::vector<Value> part(all.begin() + begin, all.begin() + end);
    if (!bound.is_none(1) && !extra) part.push_back(bound.at(1));
    parts.push_back(runtime.list(std::move(part)));
    begin = end;
  }
  return runtime.list(std::move(parts), ListKind::generator);
}

// Like object.name, but never object["name"].
Value attribute_of(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "attr", {"name"}, 1);
  const std::string_view name = bound.text(0).view();
  if (subject.dict() && !has_method(subject, name) && !is_mutator(subject, name))
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name));
  return get_attribute(runtime, subject, name);
}

constexpr FilterEntry kFilters[] = {
    {"attr", attribute_of}, {"batch", batch},       {"count", length},
    {"d", otherwise},       {"default", otherwise}, {"dictsort", sort_dict},
    {"first", first},       {"groupby", group_by},  {"items", items},
    {"join", join},         {"last", last},         {"length", length},
    {"list", to_list},      {"max", extreme<true>}, {"min", extreme<false>},
    {"reverse", reverse},   {"slice", slice},       {"sort", sort},
    {"sum", sum},           {"unique", unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) { return find_in(kFilters, name); }

}  // namespace minke::jinja
