// The interpreter's expressions.

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/arguments.h"
#include "text/jinja/interpreter.h"

namespace minke::jinja {

Value Interpreter::evaluate(const Expr& expr) {
  const Meter::Level level(runtime_.meter);
  runtime_.meter.step();
  runtime_.line = expr.line;
  return std::visit([&](const auto& e) { return evaluate(e); }, expr.data);
}

Value Interpreter::evaluate(const ItemExpr& e) {
  const Value object = evaluate(*e.object);
  return get_item(runtime_, object, evaluate(*e.key));
}

Value Interpreter::evaluate(const SliceExpr& e) {
  const Value object = evaluate(*e.object);
  const Value start = evaluate_or_none(e.start), stop = evaluate_or_none(e.stop),
              step = evaluate_or_none(e.step);
  return get_slice(runtime_, object, start, stop, step);
}

Value Interpreter::evaluate(const TestExpr& e) {
  if (!e.test) throw Error(fmt::format("No test named '{}' found.", e.name));
  const Value subject = evaluate(*e.subject);
  return Value(e.test(runtime_, subject, evaluate(e.arguments)));
}

Value Interpreter::filter(const FilterExpr& e, const Value& subject) {
  if (!e.filter) throw Error(fmt::format("No filter named '{}' found.", e.name));
  const Arguments arguments = evaluate(e.arguments);
  if (const Text* text = subject.text()) runtime_.meter.handle(text->size());
  return e.filter(runtime_, subject, arguments);
}

Value Interpreter::filter_text(const Expr& chain, const Value& text) {
  const Meter::Level level(runtime_.meter);
  const auto& e = std::get<FilterExpr>(chain.data);
  return filter(e, e.subject ? filter_text(*e.subject, text) : text);
}

Value Interpreter::evaluate(const ArithmeticExpr& e) {
  Value value = evaluate(*e.first);
  for (const auto& [op, operand] : e.rest) value = compute(runtime_, op, value, evaluate(*operand));
  return value;
}

Value Interpreter::evaluate(const ConcatenationExpr& e) {
  std::vector<Value> parts;
  parts.reserve(e.parts.size());
  for (const Expr* part : e.parts) parts.push_back(evaluate(*part));
  return runtime_.text(concatenate(runtime_, parts));
}

Value Interpreter::evaluate(const ComparisonExpr& e) {
  Value left = evaluate(*e.first);
  for (const auto& [op, operand] : e.rest) {
    Value right = evaluate(*operand);
    if (!compare(runtime_, op, left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate(const LogicExpr& e) {
  Value value;
  for (const Expr* operand : e.operands) {
    value = evaluate(*operand);
    if (truth(value) != e.all) break;
  }
  return value;
}

Value Interpreter::evaluate(const ConditionalExpr& e) {
  if (truth(evaluate(*e.test))) return evaluate(*e.then);
  if (e.otherwise) return evaluate(*e.otherwise);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::evaluate(const ListExpr& e) {
  std::vector<Value> items;
  items.reserve(e.items.size());
  for (const Expr* item : e.items) items.push_back(evaluate(*item));
  return runtime_.list(std::move(items), e.kind);
}

Value Interpreter::evaluate(const DictExpr& e) {
  std::vector<Member> members;
  members.reserve(e.members.size());
  for (const auto& [key, value] : e.members) {
    Value evaluated_key = evaluate(*key);
    members.emplace_back(std::move(evaluated_key), evaluate(*value));
  }
  return runtime_.dict(std::move(members));
}

Arguments Interpreter::evaluate(const ArgumentExprs& exprs) {
  Arguments arguments;
  for (const Expr* expr : exprs.positional) arguments.positional.push_back(evaluate(*expr));
  if (exprs.more_positional) {
    const Items more = iterate(runtime_, evaluate(*exprs.more_positional));
    runtime_.meter.check(more.size() * sizeof(Value));
    arguments.positional.insert(arguments.positional.end(), more.begin(), more.end());
  }
  for (const auto& [name, expr] : exprs.named) arguments.named.emplace_back(name, evaluate(*expr));
  if (!exprs.more_named) return arguments;
  const Value more = evaluate(*exprs.more_named);
  require(more);
  if (!more.dict()) throw Error(fmt::format("argument after ** must be a mapping, not {}", type_name(more)));
  for (const auto& [key, value] : (*more.dict())->members) {
    if (!key.text()) throw Error("keywords must be strings");
    const std::string_view name = key.text()->view();
    runtime_.meter.step(1 + arguments.named.size() / 8);
    for (const auto& [other, ignored] : arguments.named)
      if (other == name) throw Error(fmt::format("got multiple values for keyword argument '{}'", name));
    arguments.named.emplace_back(name, value);
  }
  return arguments;
}

Value Interpreter::evaluate(const CallExpr& e) {
  const Value callee = evaluate(*e.callee);
  return call(callee, evaluate(e.arguments));
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require(callee);
  if (const auto* function = std::get_if<const Function*>(&callee.data()))
    return (*function)->call(runtime_, arguments);
  if (const auto* method = std::get_if<std::shared_ptr<const Method>>(&callee.data()))
    return call_method(runtime_, (*method)->self, (*method)->name, arguments);
  if (const auto* macro = std::get_if<std::shared_ptr<const Macro>>(&callee.data()))
    return call_macro(**macro, std::move(arguments));
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&callee.data()))
    return call_loop(**loop, arguments);
  throw Error(fmt::format("'{}' object is not callable", type_name(callee)));
}

Value Interpreter::call_macro(const Macro& macro, Arguments arguments) {
  const int line = runtime_.line;
  Capture capture(*this);
  const Inner inner(*this, macro.scope);
  bind(*macro.definition, std::move(arguments));
  execute(macro.definition->body);
  runtime_.line = line;
  return capture.take();
}

// Sets the macro's parameters in the scope at hand, as jinja2.runtime.Macro.__call__ gives them.
void Interpreter::bind(const MacroDefinition& macro, Arguments arguments) {
  auto& [positional, named] = arguments;
  const auto take_named = [&](std::string_view name) -> std::optional<Value> {
    const auto found =
        std::find_if(named.begin(), named.end(), [&](const auto& one) { return one.first == name; });
    if (found == named.end()) return std::nullopt;
    Value value = std::move(found->second);
    named.erase(found);
    return value;
  };
  const size_t count = macro.parameters.size();
  std::vector<const Parameter*> missing;
  bool caller_bound = false;
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = macro.parameters[i];
    const std::string& name = ast_.names[static_cast<size_t>(parameter.name)];
    caller_bound |= parameter.name == kCaller;
    if (i < positional.size()) {
      set(parameter.name, positional[i]);
    } else if (auto value = take_named(name)) {
      set(parameter.name, *std::move(value));
    } else {
      set(parameter.name, Value::undefined(fmt::format("parameter '{}' was not provided", name)));
      missing.push_back(&parameter);
    }
  }
  if (macro.takes_caller && !caller_bound)
    set(kCaller, take_named("caller").value_or(Value::undefined("No caller defined")));
  if (macro.takes_more_named) {
    std::vector<Member> members;
    for (auto& [name, value] : named) members.emplace_back(runtime_.text(name), std::move(value));
    set(kKwargs, runtime_.dict(std::move(members)));
  } else if (!named.empty()) {
    throw Error(fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, named[0].first));
  }
  if (macro.takes_more_positional) {
    const size_t used = std::min(count, positional.size());
    set(kVarargs, runtime_.list({positional.begin() + static_cast<std::ptrdiff_t>(used), positional.end()},
                                ListKind::tuple));
  } else if (positional.size() > count) {
    throw Error(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, count));
  }
  for (const Parameter* parameter : missing)
    if (parameter->otherwise) set(parameter->name, evaluate(*parameter->otherwise));
}

Value Interpreter::call_loop(Loop& loop, const Arguments& arguments) {
  const Bound bound(arguments, "loop", {"iterable"}, 1);
  if (!loop.statement) throw Error("the loop must have the 'recursive' marker to be called recursively");
  if (loop.ended) throw Error("a loop that has ended cannot be called");
  Capture capture(*this);
  const Inner inner(*this, loop.scope);
  run_loop(*loop.statement, bound.at(0), loop.depth + 1);
  return capture.take();
}

}  // namespace minke::jinja
