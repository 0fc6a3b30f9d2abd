#pragma once
// Sets of code points, and the ones Unicode defines.

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace minke {

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

struct CodeRange {
  char32_t first, last;  // both inside
  bool operator==(const CodeRange&) const = default;
};

// Sorted ranges that neither overlap nor touch.
class CodePoints {
 public:
  CodePoints() = default;
  CodePoints(std::initializer_list<CodeRange> ranges) : CodePoints(std::vector<CodeRange>(ranges)) {}
  explicit CodePoints(std::vector<CodeRange> ranges);  // in any order, overlapping or not

  std::span<const CodeRange> ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;

  CodePoints operator|(const CodePoints& other) const;
  CodePoints operator&(const CodePoints& other) const { return ~(~*this | ~other); }
  CodePoints operator~() const;
  bool operator==(const CodePoints&) const = default;

 private:
  std::vector<CodeRange> ranges_;
};

// Unicode's sets, gathered from utf8proc in less than a millisecond: made where patterns are compiled, and
// dropped.
class UnicodeSets {
 public:
  UnicodeSets();

  // A general category ("L", "Lu", "Uppercase_Letter"), "Any", "Assigned", "ASCII", "White_Space", or one of
  // the scripts Han, Hiragana, Katakana, Hangul (as of Unicode 15). Case, spaces, '-' and '_' do not count.
  std::optional<CodePoints> find(std::string_view name) const;
  CodePoints white_space() const;  // \s
  CodePoints digits() const;       // \d
  CodePoints word() const;         // \w
  // The set with everything that differs from a member by simple case folding only.
  CodePoints ignoring_case(const CodePoints& set) const;

 private:
  CodePoints categories(std::string_view initials_or_name) const;

  std::array<std::vector<CodeRange>, 30> by_category_;  // in utf8proc's order: Cn, Lu, Ll, ...
  std::vector<std::pair<char32_t, char32_t>>
      folds_;  // {folded, code point}, sorted; the folded form among them
};

}  // namespace minke
