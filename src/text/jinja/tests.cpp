// What stands behind `is`.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/characters.h"
#include "text/jinja/runtime.h"

namespace minke::jinja {
namespace {

template <typename Predicate, Predicate kPredicate>
bool plain_test(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "the test", {});
  return kPredicate(subject);
}

bool is_boolean(const Value& v) { return v.boolean(); }
bool is_callable(const Value& v) {
  return std::visit(
      [](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        return std::is_same_v<T, const Function*> || std::is_same_v<T, std::shared_ptr<const Method>> ||
               std::is_same_v<T, std::shared_ptr<const Macro>> || std::is_same_v<T, std::shared_ptr<Loop>> ||
               std::is_same_v<T, Undefined>;
      },
      v.data());
}
bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_escaped(const Value& v) { return v.text() && v.text()->is_markup(); }
bool is_false(const Value& v) { return v.boolean() && !*v.boolean(); }
bool is_float(const Value& v) { return v.real(); }
bool is_integer(const Value& v) { return v.integer(); }
bool is_iterable(const Value& v) { return v.text() || v.list() || v.dict() || v.range() || v.is_undefined(); }
bool is_mapping(const Value& v) { return v.dict(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_number(const Value& v) { return as_number(v).has_value(); }
bool is_sequence(const Value& v) {
  return is_iterable(v) && !(v.list() && (*v.list())->kind >= ListKind::generator);
}
bool is_string(const Value& v) { return v.text(); }
bool is_true(const Value& v) { return v.boolean() && *v.boolean(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }

template <bool (*kPredicate)(const Value&)>
constexpr Test plain = plain_test<bool (*)(const Value&), kPredicate>;

bool has_rest(Runtime& runtime, const Value& subject, const Value& divisor, int64_t rest) {
  return equal(runtime, compute(runtime, Op::modulo, subject, divisor), Value::integer(rest));
}

bool is_odd(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "odd", {});
  return has_rest(runtime, subject, Value::integer(2), 1);
}
bool is_even(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "even", {});
  return has_rest(runtime, subject, Value::integer(2), 0);
}
bool is_divisible_by(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "divisibleby", {"num"}, 1);
  return has_rest(runtime, subject, bound.at(0), 0);
}

template <Comparison kOp>
bool compares(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "the comparison", {"other"}, 1);
  return compare(runtime, kOp, subject, bound.at(0));
}

// Python's `is`: the same object for containers, the same value for what templates cannot tell apart.
bool is_same(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "sameas", {"other"}, 1);
  const Value& other = bound.at(0);
  if (subject.data().index() != other.data().index()) return false;
  if (subject.list()) return *subject.list() == *other.list();
  if (subject.dict()) return *subject.dict() == *other.dict();
  return equal(runtime, subject, other);
}

template <bool kUpper>
bool has_case(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, kUpper ? "upper" : "lower", {});
  return is_class(to_text(runtime, subject).view(), kUpper ? "upper" : "lower");
}

bool is_filter(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "filter", {});
  return subject.text() && find_filter(subject.text()->view());
}
bool is_test(Runtime&, const Value& subject, const Arguments& arguments) {
  const Bound bound(arguments, "test", {});
  return subject.text() && find_test(subject.text()->view());
}

struct Entry {
  std::string_view name;
  Test test;
};

constexpr Entry kTests[] = {
    {"!=", compares<Comparison::unequal>},
    {"<", compares<Comparison::less>},
    {"<=", compares<Comparison::less_equal>},
    {"==", compares<Comparison::equal>},
    {">", compares<Comparison::greater>},
    {">=", compares<Comparison::greater_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible_by},
    {"eq", compares<Comparison::equal>},
    {"equalto", compares<Comparison::equal>},
    {"escaped", plain<is_escaped>},
    {"even", is_even},
    {"false", plain<is_false>},
    {"filter", is_filter},
    {"float", plain<is_float>},
    {"ge", compares<Comparison::greater_equal>},
    {"greaterthan", compares<Comparison::greater>},
    {"gt", compares<Comparison::greater>},
    {"in", compares<Comparison::in>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compares<Comparison::less_equal>},
    {"lessthan", compares<Comparison::less>},
    {"lower", has_case<false>},
    {"lt", compares<Comparison::less>},
    {"mapping", plain<is_mapping>},
    {"ne", compares<Comparison::unequal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", has_case<true>},
};

}  // namespace

Test find_test(std::string_view name) {
  for (const Entry& entry : kTests)
    if (entry.name == name) return entry.test;
  return nullptr;
}

}  // namespace minke::jinja
