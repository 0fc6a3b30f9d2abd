#pragma once
// What a regular expression is compiled to: instructions over classes of code points.

#include <array>
#include <cstdint>
#include <vector>

#include "text/regex_syntax.h"
#include "text/utf8.h"

namespace minke {

// Code points no set of the pattern tells apart share a class: two loads lead from one to the other.
class CodePointClasses {
 public:
  static constexpr size_t kMaxClasses = 256;

  CodePointClasses() = default;
  explicit CodePointClasses(
      const std::vector<CodePoints>& sets);  // throws Error where they need too many classes

  uint8_t operator[](char32_t c) const { return blocks_[size_t{index_[c >> 7]} << 7 | (c & 127)]; }
  size_t size() const { return representatives_.size(); }
  char32_t representative(size_t klass) const { return representatives_[klass]; }

 private:
  std::vector<uint16_t> index_;  // [code point / 128], of blocks
  std::vector<uint8_t> blocks_;  // [block][128]
  std::vector<char32_t> representatives_;
};

inline constexpr uint32_t kNone = 0xFFFFFFFF;

struct RegexInst {
  enum class Op : uint8_t {
    set,       // a code point of `set`, then the next instruction
    loop,      // a to b of `set`, as many as there are; fewer on failure, down to a
    split,     // goes to a; on failure to b
    jump,      // to a
    look,      // runs the next instruction's program up to its accept, then goes to a from where it was
    look_set,  // the same for one set
    behind,    // whether the code point before is in `set`
    atomic,    // runs as look does, then goes to a from where that ended
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_or_last_newline,
    word_boundary,
    accept,
  };
  Op op;
  bool negated = false;
  bool possessive = false;  // loop: fewer cannot help
  uint32_t set = 0;
  uint32_t a = 0, b = 0;
  uint32_t next =
      kNone;  // loop: the set that must follow, if known. split: its row in the table of failures, if kept
};

struct RegexProgram {
  // Two forms of the same: `fast` has loops, `careful` spells them out so that each way of failing can be
  // remembered.
  struct Code {
    std::vector<RegexInst> insts;
    std::vector<uint32_t> entries;  // [alternative]
    uint32_t remembered = 0;        // splits with a row in the table of failures
  };
  Code fast, careful;

  CodePointClasses classes;
  std::vector<std::array<uint8_t, 128>> ascii_members;                            // [set][byte] 0 or 1
  std::vector<std::array<uint8_t, CodePointClasses::kMaxClasses>> class_members;  // [set][class] 0 or 1
  // Bit i: alternative i can begin with such a code point; the last of 64 stands for all that follow.
  std::array<uint64_t, 128> ascii_candidates{};
  std::array<uint64_t, CodePointClasses::kMaxClasses> class_candidates{};
  uint64_t end_candidates = 0;  // can match nothing at the text's end

  // Whether the code point at p (not at the end) is in the set; steps over it.
  bool contains(uint32_t set, const char*& p) const {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) return ++p, ascii_members[set][byte];
    return class_members[set][classes[decode_utf8(p)]];
  }
};

// Throws Error where the pattern's program would be too large.
RegexProgram compile_regex(const RegexSyntax& syntax);

}  // namespace minke
