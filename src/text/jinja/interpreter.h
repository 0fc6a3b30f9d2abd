#pragma once
// Evaluates a parsed template.

#include <deque>
#include <memory>
#include <span>

#include "text/jinja/ast.h"
#include "text/jinja/loop.h"

namespace minke::jinja {

// Variables by name. Inner scopes see outer ones, and set only their own.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<Symbol, Value>> variables;
  bool captured = false;  // by a macro, which may be called after the scope has ended
  Charge charge;
};

struct Macro {
  const MacroDefinition* definition;
  Scope* scope;  // where it was defined
};

class Interpreter {
 public:
  // `context` holds a value for each of the ast's names, undefined ones included.
  Interpreter(const Ast& ast, Runtime& runtime, std::vector<Value> context);

  Text run();
  // Of what run() returned: the parts inside of {% generation %}, but for those printed inside of a macro or
  // a block that is assigned.
  const std::vector<TextRun>& generated() const { return generated_; }

 private:
  enum class Flow { go_on, break_loop, continue_loop };

  // --- statements (interpreter.cpp)
  Flow execute(const Block& block);
  Flow run_statement(const OutputStmt& s);
  Flow run_statement(const DataStmt& s);
  Flow run_statement(const IfStmt& s);
  Flow run_statement(const ForStmt& s);
  Flow run_statement(const SetStmt& s);
  Flow run_statement(const SetBlockStmt& s);
  Flow run_statement(const MacroStmt& s);
  Flow run_statement(const CallStmt& s);
  Flow run_statement(const FilterStmt& s);
  Flow run_statement(const WithStmt& s);
  Flow run_statement(const BreakStmt&) { return Flow::break_loop; }
  Flow run_statement(const ContinueStmt&) { return Flow::continue_loop; }
  Flow run_loop(const ForStmt& s, const Value& iterable, int depth);
  Items filtered(const ForStmt& s, const Value& iterable);
  void print(const Value& value);

  void assign(const Target& target, const Value& value);
  void set(Symbol name, Value value);
  Value look_up(Symbol name) const;

  // Output goes into a text of its own while it lives.
  class Capture {
   public:
    explicit Capture(Interpreter& interpreter) : interpreter_(interpreter) {
      swap();
      ++interpreter_.captures_;
    }
    Capture(const Capture&) = delete;
    ~Capture() {
      swap();
      --interpreter_.captures_;
    }
    Value take() { return interpreter_.runtime_.text(std::move(interpreter_.out_)); }

   private:
    void swap() {
      std::swap(interpreter_.out_, out_);
      std::swap(interpreter_.out_charge_, charge_);
    }
    Interpreter& interpreter_;
    Text out_;
    Charge charge_;
  };

  // A scope inside `parent` is the one at hand while it lives.
  class Inner {
   public:
    Inner(Interpreter& interpreter, Scope* parent);
    Inner(const Inner&) = delete;
    ~Inner();

   private:
    Interpreter& interpreter_;
    Scope* outer_;
  };

  // --- expressions (evaluate.cpp)
  Value evaluate(const Expr& expr);
  Value evaluate_or_none(const Expr* expr) { return expr ? evaluate(*expr) : Value(); }
  Value evaluate(const ConstantExpr& e) { return e.value; }
  Value evaluate(const NameExpr& e) { return look_up(e.name); }
  Value evaluate(const AttributeExpr& e) { return get_attribute(runtime_, evaluate(*e.object), e.name); }
  Value evaluate(const ItemExpr& e);
  Value evaluate(const SliceExpr& e);
  Value evaluate(const CallExpr& e);
  Value evaluate(const FilterExpr& e) { return filter(e, evaluate(*e.subject)); }
  Value evaluate(const TestExpr& e);
  Value evaluate(const SignExpr& e) { return negate(evaluate(*e.operand), e.minus); }
  Value evaluate(const NotExpr& e) { return Value(!truth(evaluate(*e.operand))); }
  Value evaluate(const ArithmeticExpr& e);
  Value evaluate(const ConcatenationExpr& e);
  Value evaluate(const ComparisonExpr& e);
  Value evaluate(const LogicExpr& e);
  Value evaluate(const ConditionalExpr& e);
  Value evaluate(const ListExpr& e);
  Value evaluate(const DictExpr& e);
  Value filter(const FilterExpr& e, const Value& subject);
  Value filter_text(const Expr& chain, const Value& text);  // through the filters of a block

  Arguments evaluate(const ArgumentExprs& exprs);
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const Macro& macro, Arguments arguments);
  Value make_macro(const MacroDefinition& definition);
  void bind(const MacroDefinition& macro, Arguments arguments);
  Value call_loop(Loop& loop, const Arguments& arguments);

  const Ast& ast_;
  Runtime& runtime_;
  std::vector<Value> context_;
  std::deque<Scope> scopes_;  // all that ever were in use at one time, and captured ones
  std::vector<Scope*> free_scopes_;
  Scope* scope_ = nullptr;
  Text out_;
  Charge out_charge_;
  int captures_ = 0;  // that live
  std::vector<TextRun> generated_;
};

}  // namespace minke::jinja
