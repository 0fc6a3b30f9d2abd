#pragma once
// Regular expressions as tokenizers use them: Oniguruma's Ruby dialect over valid UTF-8, leftmost match,
// alternatives in order. Characters and classes (\s \w \d \h \p{..}, ranges, unions, && intersections,
// negation), groups (captures are plain groups), (?i) by simple case folding, greedy, lazy and possessive
// quantifiers, alternation, lookahead, lookbehind by one character, atomic groups, ^ $ \A \z \Z \b \B. Not
// supported, and refused: back-references, unlimited repeats of what can match nothing, POSIX brackets,
// scripts but Han, Hiragana, Katakana and Hangul.
//
// Searching a text takes time and space linear in it, whatever the pattern (but see RegexSearch::next).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace minke {

struct RegexProgram;

// Immutable; any thread may use it.
class Regex {
 public:
  // Throws Error naming the pattern and, for a mistake in it, the offset.
  Regex(std::string_view pattern, const UnicodeSets& unicode);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  const std::string& pattern() const { return pattern_; }

 private:
  friend class RegexSearch;
  std::string pattern_;
  std::unique_ptr<const RegexProgram> program_;
};

// Memory that searches use again and again; not to be shared by two that are under way.
class RegexScratch {
 private:
  friend class RegexSearch;
  struct Frame {
    uint32_t pc;
    uint32_t row;  // of the table of failures, for a split that is being remembered
    const char* at;
    const char* floor;  // of a loop that may give characters back; else null
  };
  std::vector<Frame> stack;
  std::vector<uint64_t> failed;  // bits [remembered split][offset]: nothing matches from there
};

// The matches in a text, from left to right, none overlapping.
class RegexSearch {
 public:
  // text must be valid UTF-8 and outlive the search.
  RegexSearch(const Regex& regex, std::string_view text, RegexScratch& scratch);

  // Moves to the next match; false when there is none. An empty match is not found where the last match
  // ended. Throws Error naming the pattern where lookaheads or atomic groups make the work grow beyond any
  // sensible bound, or where the text is too long to remember every way of failing.
  bool next();
  std::string_view match() const { return {match_begin_, static_cast<size_t>(match_end_ - match_begin_)}; }
  size_t match_offset() const { return static_cast<size_t>(match_begin_ - begin_); }

  // For tests: remember failures from the start, as is otherwise done only once backtracking grows.
  void be_careful();

 private:
  enum class Outcome : uint8_t { matched, failed, exhausted };

  uint64_t candidates(const char* at) const;
  bool match_at(const char* start);
  Outcome run(uint32_t pc, const char* at);
  bool backtrack(size_t base, uint32_t& pc, const char*& at);
  bool assertion(uint32_t pc, const char* at) const;
  bool remembered_failure(uint32_t row, const char* at) const;

  const RegexProgram& program_;
  const std::string& pattern_;
  RegexScratch& scratch_;
  const char *begin_, *end_, *from_;
  const char *match_begin_ = nullptr, *match_end_ = nullptr;
  const char* run_end_ = nullptr;  // where the innermost run's match ended
  int64_t budget_;                 // steps left
  bool careful_ = false, done_ = false;
};

}  // namespace minke
