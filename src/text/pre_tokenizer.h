#pragma once
// Pre-tokenisers: what cuts text into the pieces that BPE works on (MODEL.md 5.1, 5.2). A pre-tokeniser is a
// list of steps; each step works inside the pieces that the one before has made.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace minke {

// What becomes of a step's matches: the names and meanings are those of the `tokenizers` library.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

struct SplitRule {
  std::string pattern = {};  // a regular expression; empty: none, the piece stays whole
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;        // matches are what lies between matches
  bool prefix_space = false;  // a piece that does not begin with a space is given one, first
  bool operator==(const SplitRule&) const = default;
};

// The rules known by a name of `tokenizer.ggml.pre`, its aliases included; none where the name is unknown.
std::optional<std::vector<SplitRule>> known_split_rules(std::string_view pre);
// The first name for which known_split_rules gives these rules, or "custom".
std::string pre_name_of(const std::vector<SplitRule>& rules);
// The name proper of an alias ("llama3" is "llama-bpe"); a name that is not known stays.
std::string_view canonical_pre_name(std::string_view pre);
// A pattern with \xHH, \uHHHH and \x{H...} as the characters themselves, which every engine understands
// alike.
std::string with_plain_characters(std::string_view pattern);
std::string known_pre_names();  // "deepseek-v3, qwen2, ...", for messages

// The rule inside ByteLevel(use_regex).
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Immutable; any thread may use it.
class PreTokenizer {
 public:
  explicit PreTokenizer(std::vector<SplitRule> rules);  // throws Error naming the regular expression

  // Memory for one caller at a time.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& pre) : steps(pre.steps_.size()) {}

   private:
    friend class PreTokenizer;
    struct Cut {
      size_t begin, end;
      bool match;
    };
    struct Step {
      RegexScratch regex;
      std::vector<Cut> cuts;
      std::string prefixed;
    };
    std::vector<Step> steps;
  };

  // Calls f(std::string_view) for each piece of text, from left to right, none of them empty. text must be
  // valid UTF-8.
  template <typename F>
  void split(std::string_view text, Scratch& scratch, F&& f) const {
    split_from(0, text, scratch, f);
  }

  const std::vector<SplitRule>& rules() const { return rules_; }

 private:
  template <typename F>
  void split_from(size_t index, std::string_view text, Scratch& scratch, F& f) const {
    if (text.empty()) return;
    if (index == steps_.size()) return f(text);
    const SplitRule& rule = rules_[index];
    Scratch::Step& memory = scratch.steps[index];
    if (rule.prefix_space && text[0] != ' ') {
      memory.prefixed.assign(1, ' ').append(text);
      text = memory.prefixed;
    }
    if (!steps_[index]) return split_from(index + 1, text, scratch, f);
    RegexSearch search(*steps_[index], text, memory.regex);
    if (rule.behavior == SplitBehavior::isolated) {
      size_t done = 0;
      while (search.next()) {
        const size_t at = search.match_offset(), end = at + search.match().size();
        split_from(index + 1, text.substr(done, at - done), scratch, f);
        split_from(index + 1, text.substr(at, end - at), scratch, f);
        done = end;
      }
      return split_from(index + 1, text.substr(done), scratch, f);
    }
    collect(search, text.size(), rule, memory.cuts);
    for (size_t i = 0; i < memory.cuts.size();
         ++i) {  // by index: a deeper step never touches this one's memory
      const auto cut = memory.cuts[i];
      split_from(index + 1, text.substr(cut.begin, cut.end - cut.begin), scratch, f);
    }
  }

  // The pieces that a rule other than `isolated` makes.
  static void collect(RegexSearch& search, size_t size, const SplitRule& rule,
                      std::vector<Scratch::Cut>& cuts);

  std::vector<SplitRule> rules_;
  std::vector<std::optional<Regex>> steps_;  // [rule]
};

}  // namespace minke
