#include "text/jinja/parser.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/characters.h"

namespace minke::jinja {
namespace {

constexpr size_t kMaxSource = size_t{1} << 20;

constexpr std::string_view kRefusedTags[] = {"extends", "include", "import", "from", "block", "autoescape"};

}  // namespace

Ast parse(std::string_view source) {
  if (source.size() > kMaxSource)
    throw Error(fmt::format("a template of {} bytes, at most {} are allowed", source.size(), kMaxSource));
  if (!is_valid_utf8(source)) throw Error("the template is not valid UTF-8");
  return Parser(source).run();
}

Parser::Parser(std::string_view source) : tokens_(tokenize(source)) {
  for (const std::string_view name : {"loop", "varargs", "kwargs", "caller"}) symbol(name);
}

Ast Parser::run() {
  ast_.root = parse_body({});
  if (!unknown_.empty()) fail(unknown_[0].message, unknown_[0].line);
  return std::move(ast_);
}

const Token& Parser::next() {
  const Token& token = current();
  if (token.kind != TokenKind::end) ++position_;
  return token;
}

bool Parser::skip_op(std::string_view op) { return is_op(op) && (next(), true); }
bool Parser::skip_name(std::string_view name) { return is_name(name) && (next(), true); }

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(fmt::format("expected '{}', got '{}'", op, describe(current())));
}

void Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail(fmt::format("expected '{}', got '{}'", name, describe(current())));
}

void Parser::expect(TokenKind kind) {
  if (current().kind != kind)
    fail(fmt::format("expected the {}, got '{}'", describe({kind, 0, {}}), describe(current())));
  next();
}

std::string Parser::expect_any_name() {
  if (current().kind != TokenKind::name) fail(fmt::format("expected a name, got '{}'", describe(current())));
  return next().text;
}

void Parser::fail(std::string message, int line) const {
  throw Error(std::move(message), fmt::format("line {}", line ? line : current().line));
}

Symbol Parser::symbol(std::string_view name) {
  const auto found = symbols_.find(name);
  if (found != symbols_.end()) return found->second;
  const auto next_symbol = static_cast<Symbol>(ast_.names.size());
  ast_.names.emplace_back(name);
  symbols_.emplace(name, next_symbol);
  return next_symbol;
}

const Expr* Parser::make_text(int line, std::string text) {
  auto object = std::make_shared<const TextObject>(TextObject{Text(std::move(text), false), {}});
  return make(line, ConstantExpr{Value(std::move(object))});
}

Block Parser::parse_body(EndTags ends) {
  const Level level(*this);
  Block body;
  while (current().kind != TokenKind::end) {
    const Token& token = next();
    if (token.kind == TokenKind::data) {
      body.push_back(make_stmt(token.line, DataStmt{token.text}));
    } else if (token.kind == TokenKind::variable_begin) {
      const Expr* value = parse_tuple();
      expect(TokenKind::variable_end);
      body.push_back(make_stmt(token.line, OutputStmt{value}));
    } else {
      MINKE_CHECK(token.kind == TokenKind::block_begin);
      if (current().kind == TokenKind::name &&
          std::find(ends.begin(), ends.end(), current().text) != ends.end())
        return body;
      if (is_name("print"))
        parse_print(body);
      else
        body.push_back(parse_statement());
      expect(TokenKind::block_end);
    }
  }
  if (ends.size() > 0)
    fail(fmt::format("Unexpected end of template: '{}' needs to be closed by '{}'", open_tags_.back(),
                     *(ends.end() - 1)));
  return body;
}

Block Parser::parse_body_to(std::string_view end) {
  skip_op(":");
  expect(TokenKind::block_end);
  Block body = parse_body({end});
  next();
  return body;
}

const Stmt* Parser::parse_statement() {
  if (current().kind != TokenKind::name) fail("tag name expected");
  const std::string& tag = current().text;
  const struct {
    std::string_view name;
    const Stmt* (Parser::*parse)();
  } kTags[] = {
      {"if", &Parser::parse_if},
      {"for", &Parser::parse_for},
      {"set", &Parser::parse_set},
      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block},
      {"filter", &Parser::parse_filter_block},
      {"with", &Parser::parse_with},
      {"generation", &Parser::parse_generation},
      {"break", &Parser::parse_loop_control},
      {"continue", &Parser::parse_loop_control},
  };
  for (const auto& [name, parse] : kTags) {
    if (tag != name) continue;
    open_tags_.emplace_back(name);
    const Stmt* statement = (this->*parse)();
    open_tags_.pop_back();
    return statement;
  }
  if (std::find(std::begin(kRefusedTags), std::end(kRefusedTags), tag) != std::end(kRefusedTags))
    fail(fmt::format("the tag '{}' is not for chat templates: they stand alone", tag));
  if (open_tags_.empty()) fail(fmt::format("Encountered unknown tag '{}'", tag));
  fail(fmt::format("Encountered unknown tag '{}' where '{}' needs to be closed", tag, open_tags_.back()));
}

const Stmt* Parser::parse_if() {
  const int line = current().line;
  const bool outer = std::exchange(soft_, true);
  IfStmt statement;
  do {
    next();
    const Expr* test = parse_tuple(false);
    skip_op(":");
    expect(TokenKind::block_end);
    statement.branches.emplace_back(test, parse_body({"elif", "else", "endif"}));
  } while (is_name("elif"));
  if (next().text == "else") statement.otherwise = parse_body_to("endif");
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

const Stmt* Parser::parse_for() {
  const int line = next().line;
  ForStmt statement{};
  statement.target = parse_target("in", false);
  expect_name("in");
  statement.iterable = parse_tuple(false, false, "recursive");
  const bool outer = std::exchange(soft_, false);
  ++all_loops_;
  if (skip_name("if")) statement.condition = parse_expression();
  statement.recursive = skip_name("recursive");
  skip_op(":");
  expect(TokenKind::block_end);
  ++loops_;
  statement.body = parse_body({"endfor", "else"});
  --loops_;
  if (next().text == "else") statement.otherwise = parse_body_to("endfor");
  --all_loops_;
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

const Stmt* Parser::parse_set() {
  const int line = next().line;
  Target target = parse_target({}, true);
  if (skip_op("=")) return make_stmt(line, SetStmt{std::move(target), parse_tuple()});
  const bool outer = std::exchange(soft_, false);
  SetBlockStmt statement{std::move(target), parse_filter(nullptr), {}};
  statement.body = parse_body_to("endset");
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

std::vector<Parameter> Parser::parse_parameters() {
  std::vector<Parameter> parameters;
  expect_op("(");
  while (!is_op(")")) {
    if (!parameters.empty()) expect_op(",");
    Parameter parameter{symbol(expect_any_name()), nullptr};
    if (skip_op("="))
      parameter.otherwise = parse_expression();
    else if (!parameters.empty() && parameters.back().otherwise)
      fail("non-default argument follows default argument");
    parameters.push_back(parameter);
  }
  next();
  return parameters;
}

void Parser::parse_macro_body(MacroDefinition& macro, std::string_view end) {
  const bool outer_soft = std::exchange(soft_, false);
  const int outer_loops = std::exchange(loops_, 0);
  macros_.push_back(&macro);
  macro.body = parse_body_to(end);
  macros_.pop_back();
  loops_ = outer_loops;
  soft_ = outer_soft;
}

const Stmt* Parser::parse_macro() {
  const int line = next().line;
  MacroStmt statement{};
  statement.macro.name = expect_any_name();
  statement.name = symbol(statement.macro.name);
  statement.macro.parameters = parse_parameters();
  parse_macro_body(statement.macro, "endmacro");
  return make_stmt(line, std::move(statement));
}

const Stmt* Parser::parse_call_block() {
  const int line = next().line;
  CallStmt statement{};
  statement.caller.name = "caller";
  if (is_op("(")) statement.caller.parameters = parse_parameters();
  statement.call = parse_expression();
  if (!std::holds_alternative<CallExpr>(statement.call->data)) fail("expected a call", line);
  parse_macro_body(statement.caller, "endcall");
  return make_stmt(line, std::move(statement));
}

const Stmt* Parser::parse_filter_block() {
  const int line = next().line;
  const bool outer = std::exchange(soft_, false);
  FilterStmt statement{parse_filter(nullptr, true), {}};
  statement.body = parse_body_to("endfilter");
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

const Stmt* Parser::parse_with() {
  const int line = next().line;
  const bool outer = std::exchange(soft_, false);
  WithStmt statement;
  while (current().kind != TokenKind::block_end) {
    if (!statement.values.empty()) expect_op(",");
    Target target = parse_target({}, false);
    expect_op("=");
    statement.values.emplace_back(std::move(target), parse_expression());
  }
  statement.body = parse_body_to("endwith");
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

// transformers marks with it what the assistant said; it prints its body, in a scope of its own.
const Stmt* Parser::parse_generation() {
  const int line = next().line;
  const bool outer = std::exchange(soft_, false);
  const int outer_loops = std::exchange(loops_, 0);
  WithStmt statement;
  statement.body = parse_body_to("endgeneration");
  statement.generation = true;
  loops_ = outer_loops;
  soft_ = outer;
  return make_stmt(line, std::move(statement));
}

void Parser::parse_print(Block& block) {
  const int line = next().line;
  for (bool first = true; current().kind != TokenKind::block_end; first = false) {
    if (!first) expect_op(",");
    block.push_back(make_stmt(line, OutputStmt{parse_expression()}));
  }
}

const Stmt* Parser::parse_loop_control() {
  const Token& token = next();
  if (loops_ == 0) fail(fmt::format("'{}' outside of a loop", token.text), token.line);
  if (token.text == "break") return make_stmt(token.line, BreakStmt{});
  return make_stmt(token.line, ContinueStmt{});
}

Target Parser::parse_target(std::string_view end_name, bool with_namespace) {
  Target all;
  all.is_tuple = true;
  const auto ended = [&] {
    const TokenKind kind = current().kind;
    return kind == TokenKind::block_end || is_op(")") || (!end_name.empty() && is_name(end_name));
  };
  bool comma = false;
  while (!ended()) {
    all.parts.push_back(parse_one_target(with_namespace));
    if (!skip_op(",")) break;
    comma = true;
  }
  if (all.parts.empty()) fail(fmt::format("expected a name to assign to, got '{}'", describe(current())));
  return comma ? std::move(all) : std::move(all.parts[0]);
}

Target Parser::parse_one_target(bool with_namespace) {
  const Level level(*this);
  if (skip_op("(")) {
    Target target = parse_target({}, with_namespace);
    expect_op(")");
    return target;
  }
  if (current().kind != TokenKind::name) fail(fmt::format("can't assign to '{}'", describe(current())));
  const std::string name = next().text;
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"})
    if (name == constant) fail(fmt::format("can't assign to '{}'", name));
  Target target;
  target.name = symbol(name);
  if (with_namespace && skip_op("."))
    target.attribute = expect_any_name();
  else if (name == "loop" && all_loops_ > 0)
    fail("Can't assign to special loop variable in for-loop");
  return target;
}

}  // namespace minke::jinja
