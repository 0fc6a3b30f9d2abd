#pragma once
// A parsed template. Nodes live in the Ast's deques and point at each other: freeing a deep tree needs no
// recursion.

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/runtime.h"

namespace minke::jinja {

struct Expr;
struct Stmt;
using Exprs = std::vector<const Expr*>;
using Block = std::vector<const Stmt*>;
using Symbol = int;  // a variable's name, as its index in Ast::names

struct ArgumentExprs {
  Exprs positional;
  std::vector<std::pair<std::string, const Expr*>> named;
  const Expr* more_positional = nullptr;  // *args
  const Expr* more_named = nullptr;       // **kwargs
};

struct ConstantExpr {
  Value value;
};
struct NameExpr {
  Symbol name;
};
struct AttributeExpr {
  const Expr* object;
  std::string name;
};
struct ItemExpr {
  const Expr *object, *key;
};
struct SliceExpr {
  const Expr *object, *start, *stop, *step;  // null where left out
};
struct CallExpr {
  const Expr* callee;
  ArgumentExprs arguments;
};
struct FilterExpr {
  const Expr* subject;  // null: the text of the block that is filtered
  std::string name;
  Filter filter;  // null where there is none of that name: an error once it is used
  ArgumentExprs arguments;
};
struct TestExpr {
  const Expr* subject;
  std::string name;
  Test test;  // as with filters
  ArgumentExprs arguments;
};
struct SignExpr {
  bool minus;
  const Expr* operand;
};
struct NotExpr {
  const Expr* operand;
};
// Operators of one precedence, from left to right: a + b - c is one node, so that a long sum is no deep tree.
struct ArithmeticExpr {
  const Expr* first;
  std::vector<std::pair<Op, const Expr*>> rest;
};
struct ConcatenationExpr {
  Exprs parts;
};
struct ComparisonExpr {
  const Expr* first;
  std::vector<std::pair<Comparison, const Expr*>> rest;
};
struct LogicExpr {
  bool all;  // and; else or
  Exprs operands;
};
struct ConditionalExpr {
  const Expr *test, *then, *otherwise;  // the last null where there is no else
};
struct ListExpr {
  ListKind kind;
  Exprs items;
};
struct DictExpr {
  std::vector<std::pair<const Expr*, const Expr*>> members;
};

struct Expr {
  int line;
  std::variant<ConstantExpr, NameExpr, AttributeExpr, ItemExpr, SliceExpr, CallExpr, FilterExpr, TestExpr,
               SignExpr, NotExpr, ArithmeticExpr, ConcatenationExpr, ComparisonExpr, LogicExpr,
               ConditionalExpr, ListExpr, DictExpr>
      data;
};

// What can be assigned to: a name, an attribute of a namespace, or several of them in a tuple.
struct Target {
  Symbol name = -1;
  std::string attribute;  // of the namespace `name`; empty where the name itself is meant
  std::vector<Target> parts;
  bool is_tuple = false;
};

struct Parameter {
  Symbol name;
  const Expr* otherwise;  // null where it has no default
};

// A macro, or the body of a call block.
struct MacroDefinition {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
  bool takes_more_positional = false;  // it mentions varargs
  bool takes_more_named = false;       // it mentions kwargs
  bool takes_caller = false;           // it mentions caller
};

struct OutputStmt {
  const Expr* value;
};
struct DataStmt {
  std::string text;
};
struct IfStmt {
  std::vector<std::pair<const Expr*, Block>> branches;
  Block otherwise;
};
struct ForStmt {
  Target target;
  const Expr* iterable;
  const Expr* condition;  // null where there is none
  bool recursive;
  Block body, otherwise;
};
struct SetStmt {
  Target target;
  const Expr* value;
};
struct SetBlockStmt {
  Target target;
  const Expr* filter;  // a chain of FilterExpr, or null
  Block body;
};
struct MacroStmt {
  Symbol name;
  MacroDefinition macro;
};
struct CallStmt {
  const Expr* call;  // a CallExpr
  MacroDefinition caller;
};
struct FilterStmt {
  const Expr* filter;
  Block body;
};
struct WithStmt {
  std::vector<std::pair<Target, const Expr*>> values;
  Block body;
  bool generation = false;  // what is printed is the assistant's
};
struct BreakStmt {};
struct ContinueStmt {};

struct Stmt {
  int line;
  std::variant<OutputStmt, DataStmt, IfStmt, ForStmt, SetStmt, SetBlockStmt, MacroStmt, CallStmt, FilterStmt,
               WithStmt, BreakStmt, ContinueStmt>
      data;
};

// Names that mean something to every template.
enum : Symbol { kLoop, kVarargs, kKwargs, kCaller };

struct Ast {
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::vector<std::string> names;  // by Symbol
  Block root;
};

// Throws Error naming the line.
Ast parse(std::string_view source);

}  // namespace minke::jinja
