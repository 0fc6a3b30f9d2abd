#include "text/jinja/interpreter.h"

#include <fmt/format.h>

namespace minke::jinja {

Interpreter::Interpreter(const Ast& ast, Runtime& runtime, std::vector<Value> context)
    : ast_(ast), runtime_(runtime), context_(std::move(context)) {
  MINKE_CHECK(context_.size() == ast_.names.size());
}

Text Interpreter::run() {
  const Inner root(*this, nullptr);
  execute(ast_.root);
  return std::move(out_);
}

Interpreter::Inner::Inner(Interpreter& interpreter, Scope* parent)
    : interpreter_(interpreter), outer_(interpreter.scope_) {
  auto& free = interpreter.free_scopes_;
  Scope* scope = free.empty() ? &interpreter.scopes_.emplace_back() : free.back();
  if (!free.empty()) free.pop_back();
  scope->parent = parent;
  interpreter.scope_ = scope;
}

Interpreter::Inner::~Inner() {
  Scope* scope = interpreter_.scope_;
  if (!scope->captured) {
    scope->variables.clear();
    interpreter_.free_scopes_.push_back(scope);
  }
  interpreter_.scope_ = outer_;
}

Interpreter::Flow Interpreter::execute(const Block& block) {
  const Meter::Level level(runtime_.meter);
  for (const Stmt* statement : block) {
    runtime_.meter.step();
    runtime_.line = statement->line;
    const Flow flow = std::visit([&](const auto& s) { return run_statement(s); }, statement->data);
    if (flow != Flow::go_on) return flow;
  }
  return Flow::go_on;
}

void Interpreter::print(const Value& value) {
  const Text* text = value.text();
  const Text& printed = text ? *text : to_text(runtime_, value);
  runtime_.meter.extend(out_charge_, printed.size());
  out_.append(printed);
}

Interpreter::Flow Interpreter::run_statement(const OutputStmt& s) {
  print(evaluate(*s.value));
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const DataStmt& s) {
  runtime_.meter.extend(out_charge_, s.text.size());
  out_.append(s.text, false);
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const IfStmt& s) {
  for (const auto& [test, body] : s.branches)
    if (truth(evaluate(*test))) return execute(body);
  return execute(s.otherwise);
}

Items Interpreter::filtered(const ForStmt& s, const Value& iterable) {
  std::vector<Value> kept;
  for (const Value& item : iterate(runtime_, iterable)) {
    const Inner inner(*this, scope_);
    assign(s.target, item);
    if (truth(evaluate(*s.condition))) kept.push_back(item);
  }
  return Items(*runtime_.list(std::move(kept)).list());
}

Interpreter::Flow Interpreter::run_statement(const ForStmt& s) {
  return run_loop(s, evaluate(*s.iterable), 0);
}

Interpreter::Flow Interpreter::run_loop(const ForStmt& s, const Value& iterable, int depth) {
  const auto loop = std::make_shared<Loop>(s.condition ? filtered(s, iterable) : iterate(runtime_, iterable));
  loop->depth = depth;
  loop->statement = s.recursive ? &s : nullptr;
  loop->scope = scope_;
  const struct End {
    Loop& loop;
    ~End() {
      loop.ended = true;
      loop.seen.clear();
    }
  } end{*loop};
  bool completed = false;  // an iteration left by `continue` does not count for `else`, as in Jinja
  for (; loop->index < loop->items.size(); ++loop->index) {
    runtime_.meter.step();
    const Inner inner(*this, scope_);
    set(kLoop, Value(loop));
    assign(s.target, loop->items[loop->index]);
    const Flow flow = execute(s.body);
    if (flow == Flow::break_loop) break;
    if (flow == Flow::go_on) completed = true;
  }
  if (completed || s.otherwise.empty()) return Flow::go_on;
  const Inner inner(*this, scope_);
  return execute(s.otherwise);
}

Interpreter::Flow Interpreter::run_statement(const SetStmt& s) {
  assign(s.target, evaluate(*s.value));
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const SetBlockStmt& s) {
  Value text;
  {
    Capture capture(*this);
    const Inner inner(*this, scope_);
    const Flow flow = execute(s.body);
    if (flow != Flow::go_on) return flow;
    text = capture.take();
  }
  assign(s.target, s.filter ? filter_text(*s.filter, text) : text);
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const FilterStmt& s) {
  Value text;
  {
    Capture capture(*this);
    const Inner inner(*this, scope_);
    const Flow flow = execute(s.body);
    if (flow != Flow::go_on) return flow;
    text = capture.take();
  }
  print(filter_text(*s.filter, text));
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const WithStmt& s) {
  std::vector<Value> values;
  for (const auto& [target, value] : s.values) values.push_back(evaluate(*value));
  const Inner inner(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(s.values[i].first, values[i]);
  const size_t begin = out_.size();
  const Flow flow = execute(s.body);
  if (s.generation && captures_ == 0 && out_.size() > begin) generated_.push_back({begin, out_.size()});
  return flow;
}

Value Interpreter::make_macro(const MacroDefinition& definition) {
  for (Scope* scope = scope_; scope && !scope->captured; scope = scope->parent) {
    scope->charge = runtime_.meter.charge(sizeof(Scope) + 8 * sizeof(Value));
    scope->captured = true;
  }
  return Value(std::make_shared<const Macro>(Macro{&definition, scope_}));
}

Interpreter::Flow Interpreter::run_statement(const MacroStmt& s) {
  set(s.name, make_macro(s.macro));
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_statement(const CallStmt& s) {
  const auto& call_expr = std::get<CallExpr>(s.call->data);
  const Value callee = evaluate(*call_expr.callee);
  Arguments arguments = evaluate(call_expr.arguments);
  arguments.named.emplace_back("caller", make_macro(s.caller));
  print(call(callee, std::move(arguments)));
  return Flow::go_on;
}

void Interpreter::set(Symbol name, Value value) {
  for (auto& [symbol, present] : scope_->variables)
    if (symbol == name) {
      present = std::move(value);
      return;
    }
  scope_->variables.emplace_back(name, std::move(value));
}

Value Interpreter::look_up(Symbol name) const {
  for (const Scope* scope = scope_; scope; scope = scope->parent)
    for (const auto& [symbol, value] : scope->variables)
      if (symbol == name) return value;
  return context_[static_cast<size_t>(name)];
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const Items parts = iterate(runtime_, value);
    if (parts.size() != target.parts.size())
      throw Error(fmt::format("cannot unpack {} values into {} names", parts.size(), target.parts.size()));
    for (size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
    return;
  }
  if (target.attribute.empty()) return set(target.name, value);
  const Value object = look_up(target.name);
  Namespace* const* space = std::get_if<Namespace*>(&object.data());
  if (!space)
    throw Error(fmt::format("cannot assign attribute '{}' on '{}': it is no namespace", target.attribute,
                            ast_.names[static_cast<size_t>(target.name)]));
  for (auto& [name, present] : (*space)->attributes)
    if (name == target.attribute) {
      present = value;
      return;
    }
  (*space)->attributes.emplace_back(target.attribute, value);
}

}  // namespace minke::jinja
