#pragma once
// The syntax tree of a regular expression: what regex.h reads a pattern into before it compiles it.

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace minke {

inline constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();

struct RegexNode {
  enum class Kind : uint8_t {
    concat,     // children in turn; none: nothing, which always matches
    alternate,  // the first of the children that leads to a match
    set,        // one code point of sets[set]
    repeat,     // the child, min to max times
    look,       // whether the child matches here, without moving
    behind,     // whether the code point before is in sets[set]
    atomic,     // the child's first match, never reconsidered
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_or_last_newline,
    word_boundary,  // sets[set] is what counts as word
  };
  Kind kind = Kind::concat;
  bool negated = false;  // look, behind, word_boundary
  bool lazy = false;     // repeat
  uint32_t set = 0;
  uint32_t min = 0, max = 0;
  std::vector<RegexNode> children;
};

struct RegexSyntax {
  RegexNode root;
  std::vector<CodePoints> sets;  // distinct; at most 255
};

// Throws Error with the offset in the pattern: a mistake, or a feature that is not supported.
RegexSyntax parse_regex(std::string_view pattern, const UnicodeSets& unicode);

}  // namespace minke
