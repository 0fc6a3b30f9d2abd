// What Python's operators do with the values of templates.

#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "text/jinja/runtime.h"

namespace minke::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
constexpr std::string_view kComparisons[] = {"==", "!=", "<", "<=", ">", ">=", "in", "not in"};

[[noreturn]] void unsupported(Op op, const Value& left, const Value& right) {
  if (op == Op::add && left.text())
    throw Error(fmt::format("can only concatenate str (not \"{}\") to str", type_name(right)));
  throw Error(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'",
                          kSigns[static_cast<size_t>(op)], type_name(left), type_name(right)));
}

[[noreturn]] void overflow() { throw Error("an integer is beyond 128 bits"); }

Int power(Int base, Int exponent) {
  Int result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 ? -1 : 1;
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result)) overflow();
  return result;
}

Int floor_divide(Int a, Int b) {
  if (b == -1) {
    Int negated;
    if (__builtin_sub_overflow(Int{0}, a, &negated)) overflow();
    return negated;
  }
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Int modulo(Int a, Int b) {
  if (b == -1) return 0;
  const Int rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double real_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double real_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

double real_power(double a, double b) {
  if (a == 0 && b < 0) throw Error("0.0 cannot be raised to a negative power");
  if (a < 0 && std::isfinite(b) && b != std::floor(b))
    throw Error("a negative number to a fractional power is complex");
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
    throw Error("the result of ** is too large");
  return result;
}

Value compute_integers(Op op, Int a, Int b, bool given) {
  Int result = 0;
  switch (op) {
    case Op::add:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return Value(result, given);
    case Op::subtract:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return Value(result, given);
    case Op::multiply:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return Value(result, given);
    case Op::divide:
      if (b == 0) throw Error("division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b), given);
    case Op::floor_divide:
      if (b == 0) throw Error("integer division or modulo by zero");
      return Value(floor_divide(a, b), given);
    case Op::modulo:
      if (b == 0) throw Error("integer modulo by zero");
      return Value(modulo(a, b), given);
    case Op::power:
      if (b >= 0) return Value(power(a, b), given);
      return Value(real_power(static_cast<double>(a), static_cast<double>(b)), given);
  }
  return Value();
}

Value compute_reals(Op op, double a, double b, bool given) {
  if (b == 0 && (op == Op::divide || op == Op::floor_divide || op == Op::modulo))
    throw Error(op == Op::divide   ? "float division by zero"
                : op == Op::modulo ? "float modulo"
                                   : "float floor division by zero");
  switch (op) {
    case Op::add: return Value(a + b, given);
    case Op::subtract: return Value(a - b, given);
    case Op::multiply: return Value(a * b, given);
    case Op::divide: return Value(a / b, given);
    case Op::floor_divide: return Value(real_floor_divide(a, b), given);
    case Op::modulo: return Value(real_modulo(a, b), given);
    case Op::power: return Value(real_power(a, b), given);
  }
  return Value();
}

// How often a sequence of `size` bytes is to be repeated: nothing is allocated before the meter agrees.
size_t checked_count(Runtime& runtime, Int count, size_t size) {
  if (count <= 0 || size == 0) return 0;
  Int total = 0;
  if (__builtin_mul_overflow(count, Int{size}, &total) || total > Int{SIZE_MAX}) total = Int{SIZE_MAX};
  runtime.meter.check(static_cast<size_t>(total));
  return static_cast<size_t>(count);
}

Value repeat(Runtime& runtime, const Value& sequence, Int count) {
  if (const Text* text = sequence.text()) {
    Text out;
    for (size_t n = checked_count(runtime, count, text->size()); n > 0; --n) {
      runtime.meter.handle(text->size());
      out.append(*text);
    }
    return runtime.text(std::move(out));
  }
  const List& list = **sequence.list();
  std::vector<Value> items;
  for (size_t n = checked_count(runtime, count, list.items.size() * sizeof(Value)); n > 0; --n) {
    runtime.meter.step(list.items.size());
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return runtime.list(std::move(items), list.kind);
}

// Markup escapes what is added to it.
Value add_texts(Runtime& runtime, const Value& left, const Value& right) {
  const bool markup = left.text()->is_markup() || right.text()->is_markup();
  if (!markup) return runtime.text(concatenate(runtime, {left, right}));
  const Value escaped[] = {runtime.text(escape_html(*left.text())), runtime.text(escape_html(*right.text()))};
  return runtime.text(concatenate(runtime, {escaped[0], escaped[1]}).as_markup());
}

bool is_sequence(const Value& value) {
  if (value.text()) return true;
  return value.list() &&
         ((*value.list())->kind == ListKind::list || (*value.list())->kind == ListKind::tuple);
}

// -1, 0, 1, or 2 where neither is less nor equal (NaN).
int order(Runtime& runtime, Comparison op, const Value& left, const Value& right) {
  runtime.meter.step();
  const auto a = as_number(left), b = as_number(right);
  if (a && b) {
    if (!a->is_real && !b->is_real) return a->integer < b->integer ? -1 : a->integer > b->integer;
    return a->real < b->real ? -1 : a->real > b->real ? 1 : a->real == b->real ? 0 : 2;
  }
  const Text *s = left.text(), *t = right.text();
  if (s && t) {
    runtime.meter.handle(std::min(s->size(), t->size()));
    const int bytes = s->view().compare(t->view());  // the order of UTF-8 is that of code points
    return bytes < 0 ? -1 : bytes > 0;
  }
  const auto *x = left.list(), *y = right.list();
  if (x && y && (*x)->kind == (*y)->kind && is_sequence(left)) {
    const auto &p = (*x)->items, &q = (*y)->items;
    for (size_t i = 0; i < std::min(p.size(), q.size()); ++i)
      if (!equal(runtime, p[i], q[i])) return order(runtime, op, p[i], q[i]);
    return p.size() < q.size() ? -1 : p.size() > q.size();
  }
  require(left);
  require(right);
  throw Error(fmt::format("'{}' not supported between instances of '{}' and '{}'",
                          kComparisons[static_cast<size_t>(op)], type_name(left), type_name(right)));
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.members.size() != b.members.size()) return false;
  for (const auto& [key, value] : a.members) {
    runtime.meter.step(1 + b.members.size() / 8);
    bool found = false;
    for (const auto& [other_key, other] : b.members)
      if (equal(runtime, key, other_key)) {
        if (!equal(runtime, value, other)) return false;
        found = true;
        break;
      }
    if (!found) return false;
  }
  return true;
}

}  // namespace

Value compute(Runtime& runtime, Op op, const Value& left, const Value& right) {
  const auto a = as_number(left), b = as_number(right);
  const bool given = left.given() || right.given();
  if (a && b) {
    if (a->is_real || b->is_real) return compute_reals(op, a->real, b->real, given);
    return compute_integers(op, a->integer, b->integer, given);
  }
  if (op == Op::modulo && left.text()) return runtime.text(format_percent(runtime, *left.text(), right));
  require(left);
  require(right);
  if (op == Op::add && left.text() && right.text()) return add_texts(runtime, left, right);
  const auto *x = left.list(), *y = right.list();
  if (op == Op::add && x && y && (*x)->kind == (*y)->kind && is_sequence(left)) {
    runtime.meter.check(((*x)->items.size() + (*y)->items.size()) * sizeof(Value));
    std::vector<Value> items = (*x)->items;
    items.insert(items.end(), (*y)->items.begin(), (*y)->items.end());
    return runtime.list(std::move(items), (*x)->kind);
  }
  if (op == Op::multiply && is_sequence(left) && b && !b->is_real) return repeat(runtime, left, b->integer);
  if (op == Op::multiply && is_sequence(right) && a && !a->is_real) return repeat(runtime, right, a->integer);
  unsupported(op, left, right);
}

Value negate(const Value& value, bool minus) {
  require(value);
  const auto number = as_number(value);
  if (!number)
    throw Error(fmt::format("bad operand type for unary {}: '{}'", minus ? '-' : '+', type_name(value)));
  if (number->is_real) return Value(minus ? -number->real : number->real, value.given());
  return compute_integers(minus ? Op::subtract : Op::add, 0, number->integer, value.given());
}

bool equal(Runtime& runtime, const Value& left, const Value& right) {
  runtime.meter.step();
  const auto a = as_number(left), b = as_number(right);
  if (a && b) return a->is_real || b->is_real ? a->real == b->real : a->integer == b->integer;
  if (left.data().index() != right.data().index()) return false;
  if (const Text* s = left.text()) {
    runtime.meter.handle(s->size() == right.text()->size() ? s->size() : 0);
    return s->view() == right.text()->view();
  }
  if (const auto* x = left.list()) {
    const auto* y = right.list();
    if (*x == *y) return true;
    if ((*x)->kind == ListKind::generator || (*x)->kind == ListKind::values) return false;
    if ((*x)->kind != (*y)->kind || (*x)->items.size() != (*y)->items.size()) return false;
    for (size_t i = 0; i < (*x)->items.size(); ++i)
      if (!equal(runtime, (*x)->items[i], (*y)->items[i])) return false;
    return true;
  }
  if (const auto* x = left.dict()) return *x == *right.dict() || equal_dicts(runtime, **x, **right.dict());
  if (const Range* r = left.range()) {
    const Range* s = right.range();
    if (r->size() != s->size()) return false;
    return r->size() == 0 || (r->start == s->start && (r->size() == 1 || r->step == s->step));
  }
  if (left.is_none() || left.is_undefined()) return true;
  return std::visit(
      [&](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        if constexpr (requires { x.get(); } || std::is_pointer_v<T>) return x == std::get<T>(right.data());
        return false;
      },
      left.data());
}

bool less(Runtime& runtime, const Value& left, const Value& right) {
  return order(runtime, Comparison::less, left, right) == -1;
}

bool compare(Runtime& runtime, Comparison op, const Value& left, const Value& right) {
  switch (op) {
    case Comparison::equal: return equal(runtime, left, right);
    case Comparison::unequal: return !equal(runtime, left, right);
    case Comparison::in: return contains(runtime, right, left);
    case Comparison::not_in: return !contains(runtime, right, left);
    default: break;
  }
  const int ordered = order(runtime, op, left, right);
  if (ordered == 2) return false;
  switch (op) {
    case Comparison::less: return ordered < 0;
    case Comparison::less_equal: return ordered <= 0;
    case Comparison::greater: return ordered > 0;
    default: return ordered >= 0;
  }
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (!item.text())
      throw Error(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
    runtime.meter.handle(text->size() + item.text()->size());
    const std::string_view needle = item.text()->view();
    return needle.empty() ||
           memmem(text->view().data(), text->size(), needle.data(), needle.size()) != nullptr;
  }
  if (const auto* dict = container.dict()) {
    require_hashable(item);
    for (const Member& member : (*dict)->members)
      if (equal(runtime, member.first, item)) return true;
    return false;
  }
  for (const Value& candidate : iterate(runtime, container))
    if (equal(runtime, candidate, item)) return true;
  return false;
}

}  // namespace minke::jinja
