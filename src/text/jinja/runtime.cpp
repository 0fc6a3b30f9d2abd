#include "text/jinja/runtime.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/utf8.h"

namespace minke::jinja {
namespace {

// Bounds every recursion over a value.
constexpr int kMaxDepth = 100;

int depth_above(int deepest) {
  if (deepest >= kMaxDepth)
    throw Error(fmt::format("lists and dicts are nested more than {} deep", kMaxDepth));
  return deepest + 1;
}

// A token's text, of a model that calls half a character its bos, need not be UTF-8; all else here relies on
// it.
const std::string& checked(const std::string& text) {
  if (find_invalid_utf8(text) != std::string::npos)
    throw Error(fmt::format("the text '{}' is not valid UTF-8", excerpt(text)));
  return text;
}

}  // namespace

Value Runtime::text(Text text) {
  Charge charge = meter.charge(text.heap_bytes() + sizeof(TextObject));
  return Value(std::shared_ptr<const TextObject>(new TextObject{std::move(text), std::move(charge)}));
}

Value Runtime::list(std::vector<Value> items, ListKind kind) {
  Charge charge = meter.charge(sizeof(List) + items.capacity() * sizeof(Value));
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  return Value(std::shared_ptr<const List>(
      new List{std::move(items), kind, depth_above(deepest), std::move(charge), /*taken=*/0}));
}

Value Runtime::dict(std::vector<Member> members) {
  std::vector<Member> kept;
  kept.reserve(members.size());
  Charge charge = meter.charge(sizeof(Dict) + kept.capacity() * sizeof(Member));
  int deepest = 0;
  for (Member& member : members) {
    require_hashable(member.first);
    deepest = std::max({deepest, member.first.depth(), member.second.depth()});
    meter.step(1 + kept.size() / 8);
    const auto present = std::find_if(kept.begin(), kept.end(),
                                      [&](const Member& m) { return equal(*this, m.first, member.first); });
    if (present != kept.end())
      present->second = std::move(member.second);
    else
      kept.push_back(std::move(member));
  }
  return Value(
      std::shared_ptr<const Dict>(new Dict{std::move(kept), depth_above(deepest), std::move(charge)}));
}

Value Runtime::from_json(const Json& json, bool given) {
  const Json::Value& v = json.value();
  if (json.is_null()) return Value(None{}, given);
  if (const auto* b = std::get_if<bool>(&v)) return Value(*b, given);
  if (const auto* i = std::get_if<int64_t>(&v)) return Value(Int{*i}, given);
  if (const auto* u = std::get_if<uint64_t>(&v)) return Value(Int{*u}, given);
  if (const auto* d = std::get_if<double>(&v)) return Value(*d, given);
  if (const auto* s = std::get_if<std::string>(&v)) return text(checked(*s), given);
  Meter::Level level(meter);
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.as_array().size());
    for (const Json& item : json.as_array()) items.push_back(from_json(item, given));
    return list(std::move(items));
  }
  // Keys of a JsonObject are unequal already: dict() would compare each with each.
  std::vector<Member> members;
  members.reserve(json.as_object().size());
  int deepest = 0;
  for (const auto& [key, item] : json.as_object()) {
    members.emplace_back(text(checked(key), given), from_json(item, given));
    deepest = std::max(deepest, members.back().second.depth());
  }
  Charge charge = meter.charge(sizeof(Dict) + members.capacity() * sizeof(Member));
  return Value(
      std::shared_ptr<const Dict>(new Dict{std::move(members), depth_above(deepest), std::move(charge)}));
}

void require(const Value& value) {
  if (value.is_undefined()) throw Error(*std::get<Undefined>(value.data()).why);
}

void require_hashable(const Value& value) {
  const auto* list = value.list();
  const ListKind kind = list ? (*list)->kind : ListKind::tuple;
  if (value.dict() || kind == ListKind::list || kind == ListKind::keys || kind == ListKind::items)
    throw Error(fmt::format("unhashable type: '{}'", type_name(value)));
  if (list && kind != ListKind::generator)
    for (const Value& item : (*list)->items) require_hashable(item);
}

}  // namespace minke::jinja
