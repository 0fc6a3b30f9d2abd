#pragma once
// The parser's two halves share this: statements (parser.cpp) and expressions (parse_expression.cpp).

#include <map>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace minke::jinja {

class Parser {
 public:
  explicit Parser(std::string_view source);
  Ast run();

 private:
  // --- tokens
  const Token& current() const { return tokens_[position_]; }
  const Token& next();  // the current one, and moves on
  const Token& look() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view op) const { return current().kind == TokenKind::op && current().text == op; }
  bool is_name(std::string_view name) const {
    return current().kind == TokenKind::name && current().text == name;
  }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect(TokenKind kind);
  std::string expect_any_name();
  [[noreturn]] void fail(std::string message, int line = 0) const;  // of the current token where it is 0

  // --- statements
  using EndTags = std::initializer_list<std::string_view>;
  Block parse_body(EndTags ends);             // up to one of the tags, which becomes the current token
  Block parse_body_to(std::string_view end);  // and past it
  const Stmt* parse_statement();
  const Stmt* parse_if();
  const Stmt* parse_for();
  const Stmt* parse_set();
  const Stmt* parse_macro();
  const Stmt* parse_call_block();
  const Stmt* parse_filter_block();
  const Stmt* parse_with();
  const Stmt* parse_generation();
  void parse_print(Block& block);
  const Stmt* parse_loop_control();
  std::vector<Parameter> parse_parameters();
  void parse_macro_body(MacroDefinition& macro, std::string_view end);
  Target parse_target(std::string_view end_name, bool with_namespace);
  Target parse_one_target(bool with_namespace);

  // --- expressions
  const Expr* parse_expression(bool with_conditional = true);
  const Expr* parse_conditional();
  const Expr* parse_or();
  const Expr* parse_and();
  const Expr* parse_not();
  const Expr* parse_comparison();
  const Expr* parse_sum();
  const Expr* parse_concatenation();
  const Expr* parse_product();
  const Expr* parse_power();
  const Expr* parse_unary(bool with_filter = true);
  const Expr* parse_primary();
  const Expr* parse_postfix(const Expr* expr);
  const Expr* parse_filters_and_tests(const Expr* expr);
  const Expr* parse_subscript(const Expr* object);
  const Expr* parse_brackets(const Expr* object, int line);
  const Expr* parse_filter(const Expr* subject, bool starts_with_name = false);
  const Expr* parse_test(const Expr* subject);
  // a, b: a tuple; alone it is the expression itself.
  const Expr* parse_tuple(bool with_conditional = true, bool parentheses = false,
                          std::string_view end_name = {});
  const Expr* parse_list();
  const Expr* parse_dict();
  ArgumentExprs parse_arguments();
  template <typename ParseOperand>
  const Expr* parse_arithmetic(std::initializer_list<std::pair<std::string_view, Op>> ops,
                               ParseOperand parse_operand);

  template <typename T>
  const Expr* make(int line, T data) {
    return &ast_.exprs.emplace_back(Expr{line, std::move(data)});
  }
  template <typename T>
  const Stmt* make_stmt(int line, T data) {
    return &ast_.stmts.emplace_back(Stmt{line, std::move(data)});
  }
  const Expr* make_text(int line, std::string text);
  Symbol symbol(std::string_view name);

  // One level of nesting while it lives; too many fail. An expression in parentheses takes three.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > 300) parser_.fail("the template is nested too deep");
    }
    Level(const Level&) = delete;
    ~Level() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  struct Unknown {
    std::string message;
    int line;
  };

  std::vector<Token> tokens_;
  size_t position_ = 0;
  Ast ast_;
  std::map<std::string, Symbol, std::less<>> symbols_;
  int depth_ = 0;
  int loops_ = 0;  // around the statement at hand, inside the macro at hand
  int all_loops_ = 0;
  // Unknown filters and tests are an error, but inside of an `if` or a conditional expression only once they
  // are reached: templates ask for extensions that way.
  bool soft_ = false;  // directly inside an `if`
  std::vector<Unknown> unknown_;
  std::vector<std::string> open_tags_;
  std::vector<MacroDefinition*> macros_;  // around the expression at hand
};

}  // namespace minke::jinja
