#include "text/regex_syntax.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Kind = RegexNode::Kind;

constexpr size_t kMaxPatternBytes = 8192;
constexpr int kMaxDepth = 50;
constexpr uint32_t kMaxRepeat = 1000;
constexpr int kMaxStackedRepeats = 4;
constexpr size_t kMaxSets = 255;

// Oniguruma's Ruby dialect, as far as tokenizers use it.
class Parser {
 public:
  Parser(std::string_view pattern, const UnicodeSets& unicode) : pattern_(pattern), unicode_(unicode) {}

  RegexSyntax parse() {
    if (pattern_.size() > kMaxPatternBytes)
      throw Error(fmt::format("{} bytes are too many, {} are allowed", pattern_.size(), kMaxPatternBytes));
    if (const size_t at = find_invalid_utf8(pattern_); at != std::string_view::npos) {
      at_ = at;
      fail("invalid UTF-8");
    }
    syntax_.root = alternation();
    if (!done()) fail("')' without '('");
    return std::move(syntax_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw Error(fmt::format("{} at offset {}", what, at_));
  }

  bool done() const { return at_ == pattern_.size(); }
  bool sees(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!sees(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t next_char() {
    const Utf8Unit unit = first_utf8(pattern_.substr(at_));
    at_ += unit.length;
    return unit.code_point;
  }

  CodePoints literal() {
    const char32_t c = next_char();
    return {{c, c}};
  }
  static bool is_single(const CodePoints& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  }

  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxDepth) parser.fail("nested too deeply");
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  RegexNode alternation() {
    const Deeper deeper(*this);
    const bool outer_ignore_case = ignore_case_;  // (?i) lasts until its group ends
    RegexNode node{.kind = Kind::alternate, .children = {}};
    do node.children.push_back(concatenation());
    while (take("|"));
    ignore_case_ = outer_ignore_case;
    if (node.children.size() == 1) return std::move(node.children.front());
    return node;
  }

  RegexNode concatenation() {
    RegexNode node;
    while (!done() && !sees("|") && !sees(")"))
      if (std::optional<RegexNode> item = atom()) node.children.push_back(quantified(std::move(*item)));
    if (node.children.size() == 1) return std::move(node.children.front());
    return node;
  }

  RegexNode set_node(CodePoints set) {
    return {.kind = Kind::set, .set = intern(std::move(set)), .children = {}};
  }

  uint32_t intern(CodePoints set) {
    auto& sets = syntax_.sets;
    const auto present = std::find(sets.begin(), sets.end(), set);
    if (present != sets.end()) return static_cast<uint32_t>(present - sets.begin());
    if (sets.size() == kMaxSets) fail("too many different characters and classes");
    sets.push_back(std::move(set));
    return static_cast<uint32_t>(sets.size() - 1);
  }

  // Nothing for what leaves no trace: (?i) and comments.
  std::optional<RegexNode> atom() {
    const auto simple = [](Kind kind) { return RegexNode{.kind = kind, .children = {}}; };
    if (sees("*") || sees("+") || sees("?")) fail("nothing to repeat");
    if (take("(")) return group();
    if (take("[")) return set_node(char_class());
    if (take(".")) return set_node(~CodePoints{{'\n', '\n'}});
    if (take("^")) return simple(Kind::line_begin);
    if (take("$")) return simple(Kind::line_end);
    if (take("\\A")) return simple(Kind::text_begin);
    if (take("\\z")) return simple(Kind::text_end);
    if (take("\\Z")) return simple(Kind::text_end_or_last_newline);
    if (sees("\\b") || sees("\\B")) {
      RegexNode node = simple(Kind::word_boundary);
      node.negated = sees("\\B");
      node.set = intern(unicode_.word());
      at_ += 2;
      return node;
    }
    // Case is ignored in what names characters, not in what names a property, unless brackets are around it.
    CodePoints set = take("\\") ? escape() : literal();
    if (ignore_case_ && is_single(set)) set = unicode_.ignoring_case(set);
    return set_node(std::move(set));
  }

  std::optional<RegexNode> group() {
    const auto close = [&](RegexNode node) {
      if (!take(")")) fail("'(' without ')'");
      return node;
    };
    const auto look = [&](bool negated) {
      RegexNode node{.kind = Kind::look, .negated = negated, .children = {}};
      node.children.push_back(alternation());
      return close(std::move(node));
    };
    const auto behind = [&](bool negated) {
      RegexNode node = close(alternation());
      if (node.kind != Kind::set) fail("looking behind at more than one character is not supported");
      node.kind = Kind::behind;
      node.negated = negated;
      return node;
    };
    if (take("?=")) return look(false);
    if (take("?!")) return look(true);
    if (take("?<=")) return behind(false);
    if (take("?<!")) return behind(true);
    if (take("?>")) {
      RegexNode node{.kind = Kind::atomic, .children = {}};
      node.children.push_back(alternation());
      return close(std::move(node));
    }
    if (take("?#")) {
      while (!done() && !sees(")")) next_char();
      close({});
      return std::nullopt;
    }
    if (take("?<") || take("?'")) {  // the name of a capture; there are no captures
      while (!done() && !sees(">") && !sees("'")) next_char();
      if (done()) fail("a group's name without an end");
      ++at_;
    } else if (take("?")) {
      return options();
    }
    return close(alternation());
  }

  // After "(?": letters, then ':' and a group, or ')' and the rest of the group around.
  std::optional<RegexNode> options() {
    const bool outer = ignore_case_;
    bool on = true;
    while (!sees(":") && !sees(")")) {
      if (take("-"))
        on = false;
      else if (take("i"))
        ignore_case_ = on;
      else
        fail("only the group option 'i' is supported; unknown one");
    }
    if (take(")")) return std::nullopt;
    take(":");
    RegexNode node = alternation();
    ignore_case_ = outer;
    if (!take(")")) fail("'(' without ')'");
    return node;
  }

  RegexNode quantified(RegexNode node) {
    for (int stacked = 0;; ++stacked) {
      uint32_t min = 0, max = kUnbounded;
      bool interval = false, fixed = false;
      if (take("?"))
        max = 1;
      else if (take("+"))
        min = 1;
      else if (!take("*")) {
        if (!take_interval(min, max, fixed)) return node;
        interval = true;
      }
      if (stacked == kMaxStackedRepeats) fail("too many repeats of one thing");
      RegexNode repeat{.kind = Kind::repeat, .min = min, .max = max, .children = {}};
      repeat.children.push_back(std::move(node));
      node = std::move(repeat);
      // In Ruby's dialect {n}? and {n,m}+ repeat once more.
      if (!fixed && take("?")) {
        node.lazy = true;
      } else if (!interval && take("+")) {
        RegexNode atomic{.kind = Kind::atomic, .children = {}};
        atomic.children.push_back(std::move(node));
        node = std::move(atomic);
      }
    }
  }

  // {n} {n,} {,m} {n,m}; a brace that is none of these is a character.
  bool take_interval(uint32_t& min, uint32_t& max, bool& fixed) {
    const size_t start = at_;
    const auto number = [&](uint32_t& n) {
      const size_t first = at_;
      for (n = 0; !done() && pattern_[at_] >= '0' && pattern_[at_] <= '9'; ++at_) {
        n = n * 10 + static_cast<uint32_t>(pattern_[at_] - '0');
        if (n > kMaxRepeat) fail("too many repeats");
      }
      return at_ > first;
    };
    if (!take("{")) return false;
    const bool has_min = number(min);
    fixed = !take(",");
    const bool has_max = !fixed && number(max);
    if (!take("}") || (!has_min && !has_max)) {
      at_ = start;
      return false;
    }
    if (fixed)
      max = min;
    else if (!has_max)
      max = kUnbounded;
    if (max < min) fail("a repeat's bounds are out of order");
    return true;
  }

  // After the backslash: a class or a single character, in or out of brackets.
  CodePoints escape() {
    if (done()) fail("nothing after '\\'");
    const char32_t c = next_char();
    switch (c) {
      case 's': return unicode_.white_space();
      case 'S': return ~unicode_.white_space();
      case 'd': return unicode_.digits();
      case 'D': return ~unicode_.digits();
      case 'w': return unicode_.word();
      case 'W': return ~unicode_.word();
      case 'h': return {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
      case 'H': return ~CodePoints{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
      case 'p': return property(false);
      case 'P': return property(true);
      case 'x': return hex(take("{") ? 0 : 2);
      case 'u': return hex(4);
      case 'n': return {{'\n', '\n'}};
      case 'r': return {{'\r', '\r'}};
      case 't': return {{'\t', '\t'}};
      case 'f': return {{'\f', '\f'}};
      case 'v': return {{'\v', '\v'}};
      case 'a': return {{'\a', '\a'}};
      case 'e': return {{0x1B, 0x1B}};
      default: break;
    }
    const bool letter_or_digit = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (letter_or_digit) fail(fmt::format("'\\{}' is not supported", static_cast<char>(c)));
    return {{c, c}};
  }

  // digits = 0: as many as there are, up to a closing brace.
  CodePoints hex(int digits) {
    char32_t value = 0;
    int n = 0;
    for (; !done() && (digits == 0 || n < digits); ++n, ++at_) {
      const char d = pattern_[at_];
      if (d >= '0' && d <= '9')
        value = value * 16 + static_cast<char32_t>(d - '0');
      else if (d >= 'a' && d <= 'f')
        value = value * 16 + static_cast<char32_t>(d - 'a' + 10);
      else if (d >= 'A' && d <= 'F')
        value = value * 16 + static_cast<char32_t>(d - 'A' + 10);
      else
        break;
      if (value > kLastCodePoint) fail("no such code point");
    }
    if (n == 0 || n < digits || (digits == 0 && !take("}")))
      fail("a code point in hexadecimal is not complete");
    return {{value, value}};
  }

  CodePoints property(bool negated) {
    if (!take("{")) fail("'\\p' needs a name in braces");
    if (take("^")) negated = !negated;
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) fail("'{' without '}'");
    const std::string_view name = pattern_.substr(at_, end - at_);
    const std::optional<CodePoints> set = unicode_.find(name);
    if (!set) fail(fmt::format("unknown property '{}'", name));
    at_ = end + 1;
    return negated ? ~*set : *set;
  }

  // After '[': items up to ']', && between intersected parts, brackets inside brackets as unions.
  CodePoints char_class() {
    const Deeper deeper(*this);
    const bool negated = take("^");
    std::optional<CodePoints> intersected;
    std::vector<CodeRange> ranges;
    const auto add = [&](const CodePoints& set) {
      ranges.insert(ranges.end(), set.ranges().begin(), set.ranges().end());
    };
    const auto close_part = [&] {
      CodePoints part(std::exchange(ranges, {}));
      intersected = intersected ? *intersected & part : std::move(part);
    };
    for (bool first = true; first || !sees("]"); first = false) {
      if (done()) fail("'[' without ']'");
      if (sees("[:")) fail("POSIX brackets are not supported");
      if (take("&&"))
        close_part();
      else if (take("["))
        add(char_class());
      else
        add(class_item());
    }
    ++at_;
    close_part();
    // Negation comes last in Oniguruma's order too: case is folded on the listed members.
    if (ignore_case_) intersected = unicode_.ignoring_case(*intersected);
    return negated ? ~*intersected : *intersected;
  }

  CodePoints class_char() {
    if (!take("\\")) return literal();
    if (take("b")) return {{'\b', '\b'}};
    return escape();
  }

  CodePoints class_item() {
    CodePoints low = class_char();
    if (!sees("-") || sees("-]") || sees("-&&") || !is_single(low)) return low;
    ++at_;
    if (done()) fail("'[' without ']'");
    if (sees("[")) fail("a range cannot end in a class");
    const CodePoints high = class_char();
    if (!is_single(high)) fail("a range cannot end in a class");
    if (high.ranges()[0].first < low.ranges()[0].first) fail("a range's ends are out of order");
    return {{low.ranges()[0].first, high.ranges()[0].first}};
  }

  std::string_view pattern_;
  const UnicodeSets& unicode_;
  RegexSyntax syntax_;
  size_t at_ = 0;
  int depth_ = 0;
  bool ignore_case_ = false;
};

}  // namespace

RegexSyntax parse_regex(std::string_view pattern, const UnicodeSets& unicode) {
  return Parser(pattern, unicode).parse();
}

}  // namespace minke
