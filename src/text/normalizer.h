#pragma once
// What a tokenizer.json does to text before it is cut into pieces.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/token.h"

namespace minke {

struct NormalizerStep {
  enum class Kind { nfc, nfd, nfkc, nfkd, lowercase, prepend, replace };
  Kind kind;
  std::string pattern = {};  // replace: a regular expression
  std::string content = {};  // prepend, replace
  bool operator==(const NormalizerStep&) const = default;
};

// Immutable; any thread may use it.
class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStep> steps = {});  // throws Error naming the regular expression

  bool empty() const { return steps_.empty(); }
  const std::vector<NormalizerStep>& steps() const { return steps_; }
  // Normalises valid UTF-8 in place. `runs` are moved along; what was made from text that lies only partly in
  // a run is in none afterwards.
  void apply(std::string& text, std::vector<TextRun>& runs) const;

 private:
  std::vector<NormalizerStep> steps_;
  std::vector<std::optional<Regex>> patterns_;  // [step]
};

// A code point that stays itself in NFC and changes nothing before it: text may be cut ahead of it and its
// parts normalised apart. False for some such code points too.
bool starts_afresh_in_nfc(char32_t c);

}  // namespace minke
