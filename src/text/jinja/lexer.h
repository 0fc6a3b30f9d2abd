#pragma once
// A template's source to tokens, as Jinja 3.1 with trim_blocks and lstrip_blocks.

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace minke::jinja {

enum class TokenKind {
  data,  // text between tags
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,  // unescaped
  integer,
  real,
  op,  // `text` is the operator
  end,
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;
  Int integer = 0;
  double real = 0;
};

// Throws Error naming the line. The last token is of kind `end`.
std::vector<Token> tokenize(std::string_view source);

// How messages name a token: 'end of print statement', or its text.
std::string describe(const Token& token);

}  // namespace minke::jinja
