#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/parser.h"

namespace minke::jinja {

template <typename ParseOperand>
const Expr* Parser::parse_arithmetic(std::initializer_list<std::pair<std::string_view, Op>> ops,
                                     ParseOperand parse_operand) {
  const int line = current().line;
  ArithmeticExpr all{(this->*parse_operand)(), {}};
  while (true) {
    const auto found = std::find_if(ops.begin(), ops.end(), [&](const auto& op) { return is_op(op.first); });
    if (found == ops.end()) break;
    next();
    all.rest.emplace_back(found->second, (this->*parse_operand)());
  }
  return all.rest.empty() ? all.first : make(line, std::move(all));
}

const Expr* Parser::parse_expression(bool with_conditional) {
  return with_conditional ? parse_conditional() : parse_or();
}

const Expr* Parser::parse_conditional() {
  const Level level(*this);
  const int line = current().line;
  const size_t unknown = unknown_.size();
  const Expr* expr = parse_or();
  while (skip_name("if")) {
    ConditionalExpr conditional{parse_or(), expr, nullptr};
    if (skip_name("else")) conditional.otherwise = parse_conditional();
    expr = make(line, conditional);
    unknown_.resize(unknown);
  }
  return expr;
}

const Expr* Parser::parse_or() {
  const int line = current().line;
  LogicExpr all{false, {parse_and()}};
  while (skip_name("or")) all.operands.push_back(parse_and());
  return all.operands.size() == 1 ? all.operands[0] : make(line, std::move(all));
}

const Expr* Parser::parse_and() {
  const int line = current().line;
  LogicExpr all{true, {parse_not()}};
  while (skip_name("and")) all.operands.push_back(parse_not());
  return all.operands.size() == 1 ? all.operands[0] : make(line, std::move(all));
}

const Expr* Parser::parse_not() {
  const Level level(*this);
  const int line = current().line;
  if (skip_name("not")) return make(line, NotExpr{parse_not()});
  return parse_comparison();
}

const Expr* Parser::parse_comparison() {
  const int line = current().line;
  constexpr std::pair<std::string_view, Comparison> kOps[] = {
      {"==", Comparison::equal},      {"!=", Comparison::unequal}, {"<", Comparison::less},
      {"<=", Comparison::less_equal}, {">", Comparison::greater},  {">=", Comparison::greater_equal}};
  ComparisonExpr all{parse_sum(), {}};
  while (true) {
    const auto* found =
        std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& op) { return is_op(op.first); });
    if (found != std::end(kOps)) {
      next();
      all.rest.emplace_back(found->second, parse_sum());
    } else if (skip_name("in")) {
      all.rest.emplace_back(Comparison::in, parse_sum());
    } else if (is_name("not") && look().kind == TokenKind::name && look().text == "in") {
      next();
      next();
      all.rest.emplace_back(Comparison::not_in, parse_sum());
    } else {
      return all.rest.empty() ? all.first : make(line, std::move(all));
    }
  }
}

const Expr* Parser::parse_sum() {
  return parse_arithmetic({{"+", Op::add}, {"-", Op::subtract}}, &Parser::parse_concatenation);
}

const Expr* Parser::parse_concatenation() {
  const int line = current().line;
  ConcatenationExpr all{{parse_product()}};
  while (skip_op("~")) all.parts.push_back(parse_product());
  return all.parts.size() == 1 ? all.parts[0] : make(line, std::move(all));
}

const Expr* Parser::parse_product() {
  return parse_arithmetic(
      {{"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}},
      &Parser::parse_power);
}

// From left to right like the others, unlike Python's.
const Expr* Parser::parse_power() {
  const int line = current().line;
  ArithmeticExpr all{parse_unary(), {}};
  while (skip_op("**")) all.rest.emplace_back(Op::power, parse_unary());
  return all.rest.empty() ? all.first : make(line, std::move(all));
}

const Expr* Parser::parse_unary(bool with_filter) {
  const Level level(*this);
  const int line = current().line;
  const Expr* expr;
  if (skip_op("-"))
    expr = make(line, SignExpr{true, parse_unary(false)});
  else if (skip_op("+"))
    expr = make(line, SignExpr{false, parse_unary(false)});
  else
    expr = parse_primary();
  expr = parse_postfix(expr);
  return with_filter ? parse_filters_and_tests(expr) : expr;
}

const Expr* Parser::parse_primary() {
  const Token& token = current();
  const int line = token.line;
  switch (token.kind) {
    case TokenKind::name: {
      next();
      if (token.text == "true" || token.text == "True") return make(line, ConstantExpr{Value(true)});
      if (token.text == "false" || token.text == "False") return make(line, ConstantExpr{Value(false)});
      if (token.text == "none" || token.text == "None") return make(line, ConstantExpr{Value()});
      const Symbol name = symbol(token.text);
      for (MacroDefinition* macro : macros_) {
        macro->takes_more_positional |= name == kVarargs;
        macro->takes_more_named |= name == kKwargs;
        macro->takes_caller |= name == kCaller;
      }
      return make(line, NameExpr{name});
    }
    case TokenKind::string: {
      std::string text;
      while (current().kind == TokenKind::string) text += next().text;
      return make_text(line, std::move(text));
    }
    case TokenKind::integer: return next(), make(line, ConstantExpr{Value(token.integer)});
    case TokenKind::real: return next(), make(line, ConstantExpr{Value(token.real)});
    default: break;
  }
  if (skip_op("(")) {
    const Expr* expr = parse_tuple(true, true);
    expect_op(")");
    return expr;
  }
  if (is_op("[")) return parse_list();
  if (is_op("{")) return parse_dict();
  if (token.kind == TokenKind::op) fail(fmt::format("unexpected '{}'", token.text));
  fail(fmt::format("Expected an expression, got '{}'", describe(token)));
}

const Expr* Parser::parse_tuple(bool with_conditional, bool parentheses, std::string_view end_name) {
  const int line = current().line;
  ListExpr tuple{ListKind::tuple, {}};
  bool comma = false;
  while (current().kind != TokenKind::variable_end && current().kind != TokenKind::block_end && !is_op(")") &&
         (end_name.empty() || !is_name(end_name))) {
    tuple.items.push_back(parse_expression(with_conditional));
    if (!skip_op(",")) break;
    comma = true;
  }
  if (!comma && !tuple.items.empty()) return tuple.items[0];
  if (!comma && !parentheses) fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  return make(line, std::move(tuple));
}

const Expr* Parser::parse_list() {
  const int line = next().line;
  ListExpr list{ListKind::list, {}};
  while (!is_op("]")) {
    list.items.push_back(parse_expression());
    if (!is_op("]")) expect_op(",");
  }
  next();
  return make(line, std::move(list));
}

const Expr* Parser::parse_dict() {
  const int line = next().line;
  DictExpr dict;
  while (!is_op("}")) {
    const Expr* key = parse_expression();
    expect_op(":");
    dict.members.emplace_back(key, parse_expression());
    if (!is_op("}")) expect_op(",");
  }
  next();
  return make(line, std::move(dict));
}

const Expr* Parser::parse_postfix(const Expr* expr) {
  while (true) {
    const int line = current().line;
    if (is_op(".") || is_op("["))
      expr = parse_subscript(expr);
    else if (is_op("("))
      expr = make(line, CallExpr{expr, parse_arguments()});
    else
      return expr;
  }
}

const Expr* Parser::parse_filters_and_tests(const Expr* expr) {
  while (true) {
    const int line = current().line;
    if (is_op("|"))
      expr = parse_filter(expr);
    else if (is_name("is"))
      expr = parse_test(expr);
    else if (is_op("("))
      expr = make(line, CallExpr{expr, parse_arguments()});
    else
      return expr;
  }
}

const Expr* Parser::parse_subscript(const Expr* object) {
  const int line = current().line;
  if (skip_op("[")) return parse_brackets(object, line);
  next();
  const Token& name = next();
  if (name.kind == TokenKind::name) return make(line, AttributeExpr{object, name.text});
  if (name.kind != TokenKind::integer) fail("expected name or number", name.line);
  return make(line, ItemExpr{object, make(line, ConstantExpr{Value(name.integer)})});
}

const Expr* Parser::parse_brackets(const Expr* object, int line) {
  const Expr* bounds[3] = {};
  bool slice = false;
  ListExpr keys{ListKind::tuple, {}};
  while (!is_op("]")) {
    if (!keys.items.empty() || slice) expect_op(",");
    if (slice) fail("a slice must stand alone in its brackets");
    if (!is_op(":")) bounds[0] = parse_expression();
    for (int part = 1; part < 3 && skip_op(":"); ++part) {
      slice = true;
      if (!is_op(":") && !is_op("]") && !is_op(",")) bounds[part] = parse_expression();
    }
    if (slice && !keys.items.empty()) fail("a slice must stand alone in its brackets");
    if (!slice) keys.items.push_back(bounds[0]);
  }
  next();
  if (slice) return make(line, SliceExpr{object, bounds[0], bounds[1], bounds[2]});
  return make(line, ItemExpr{object, keys.items.size() == 1 ? keys.items[0] : make(line, std::move(keys))});
}

ArgumentExprs Parser::parse_arguments() {
  const int line = current().line;
  ArgumentExprs all;
  const auto ensure = [&](bool in_order) {
    if (!in_order) fail("invalid syntax for function call expression", line);
  };
  expect_op("(");
  while (!is_op(")")) {
    if (skip_op("*")) {
      ensure(!all.more_positional && !all.more_named);
      all.more_positional = parse_expression();
    } else if (skip_op("**")) {
      ensure(!all.more_named);
      all.more_named = parse_expression();
    } else if (current().kind == TokenKind::name && look().kind == TokenKind::op && look().text == "=") {
      ensure(!all.more_named);
      std::string name = next().text;
      next();
      for (const auto& [other, value] : all.named)
        if (other == name) fail(fmt::format("keyword argument repeated: {}", name));
      const Expr* value = parse_expression();
      all.named.emplace_back(std::move(name), value);
    } else {
      ensure(!all.more_positional && !all.more_named && all.named.empty());
      all.positional.push_back(parse_expression());
    }
    if (!is_op(")")) expect_op(",");
  }
  next();
  return all;
}

const Expr* Parser::parse_filter(const Expr* subject, bool starts_with_name) {
  for (bool first = true; is_op("|") || (starts_with_name && first); first = false) {
    if (!starts_with_name || !first) next();
    const int line = current().line;
    std::string name = expect_any_name();
    while (skip_op(".")) name += '.' + expect_any_name();
    const Filter filter = find_filter(name);
    if (!filter && !soft_) unknown_.push_back({fmt::format("No filter named '{}'", name), line});
    FilterExpr expr{subject, std::move(name), filter, {}};
    if (is_op("(")) expr.arguments = parse_arguments();
    subject = make(line, std::move(expr));
  }
  return subject;
}

const Expr* Parser::parse_test(const Expr* subject) {
  const int line = next().line;
  const bool negated = skip_name("not");
  std::string name = expect_any_name();
  while (skip_op(".")) name += '.' + expect_any_name();
  const Test test = find_test(name);
  if (!test && !soft_) unknown_.push_back({fmt::format("No test named '{}'", name), line});
  TestExpr expr{subject, std::move(name), test, {}};
  const TokenKind kind = current().kind;
  const bool argument = kind == TokenKind::string || kind == TokenKind::integer || kind == TokenKind::real ||
                        is_op("[") || is_op("{") ||
                        (kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and"));
  if (is_op("(")) {
    expr.arguments = parse_arguments();
  } else if (argument) {
    if (is_name("is")) fail("You cannot chain multiple tests with is");
    expr.arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  const Expr* result = make(line, std::move(expr));
  return negated ? make(line, NotExpr{result}) : result;
}

}  // namespace minke::jinja
