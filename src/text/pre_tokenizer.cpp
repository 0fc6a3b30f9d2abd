#include "text/pre_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "text/utf8.h"

namespace minke {
namespace {

// Beside ASCII, the letters of deepseek-llm: the cased ones of an older Unicode, not \p{L} (MODEL.md 5.2).
constexpr const char* kDeepseekLlmLetters =
    R"(A-Za-z\xB5\xC0-\xD6\xD8-\xF6\xF8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-\u0373\u0376-\u0377)"
    R"(\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556)"
    R"(\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A)"
    R"(\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4)"
    R"(\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC)"
    R"(\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F)"
    R"(\u2145-\u2149\u214E\u2183-\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2-\u2CF3\uA640-\uA66D\uA680-\uA69B)"
    R"(\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A)"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})";

SplitRule rule(std::string pattern) { return {.pattern = std::move(pattern)}; }

std::vector<SplitRule> deepseek_v3() {
  return {rule(R"(\p{N}{1,3})"), rule("[一-龥぀-ゟ゠-ヿ]+"),
          rule(R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
               R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
}

std::vector<SplitRule> deepseek_llm() {
  return {rule(R"([\r\n])"),
          rule(std::string(R"(\s?[)") + kDeepseekLlmLetters + "]+"),
          rule(R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)"),
          rule(R"(\s+$)"),
          rule("[一-龥ࠀ-一가-퟿]+"),
          rule(R"(\p{N}+)")};
}

// The published tokenizers of deepseek-llm cut digits one by one; no merge joins them again.
std::vector<SplitRule> deepseek_llm_digits() {
  std::vector<SplitRule> rules = deepseek_llm();
  rules.back() = rule(R"(\p{N})");
  return rules;
}

// Qwen2 and Llama 3 differ in how they take digits.
std::vector<SplitRule> words_and_digits(const std::string& digits) {
  return {rule(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
}

std::vector<SplitRule> llama4() {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string contraction = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)", before = R"([^\r\n\p{L}\p{N}]?)";
  return {rule(before + upper + "*" + lower + "+" + contraction + "|" + before + upper + "+" + lower + "*" +
               contraction + R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
}

struct Known {
  const char* name;
  std::vector<const char*> aliases;
  std::vector<SplitRule> rules;
};

std::vector<Known> all_known() {
  return {
      {"deepseek-v3", {}, deepseek_v3()},
      {"qwen2", {}, words_and_digits(R"(\p{N})")},
      {"deepseek-r1-qwen", {}, words_and_digits(R"(\p{N})")},
      {"llama-bpe", {"llama3", "llama-v3"}, words_and_digits(R"(\p{N}{1,3})")},
      {"gpt-2", {"gpt2"}, {rule(std::string(kGpt2Pattern))}},
      {"smollm", {}, {rule(R"(\p{N})"), rule(std::string(kGpt2Pattern))}},
      {"llama4", {"gpt-4o"}, llama4()},
      {"deepseek-llm", {}, deepseek_llm()},
      {"deepseek-llm", {}, deepseek_llm_digits()},
  };
}

// Files write a newline in a pattern as itself or as \n.
std::string without_raw_newlines(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string_view canonical_pre_name(std::string_view pre) {
  for (const Known& known : all_known())
    for (const char* alias : known.aliases)
      if (pre == alias) return known.name;
  return pre;
}

std::optional<std::vector<SplitRule>> known_split_rules(std::string_view pre) {
  pre = canonical_pre_name(pre);
  for (Known& known : all_known())
    if (pre == known.name) return std::move(known.rules);
  return std::nullopt;
}

std::string pre_name_of(const std::vector<SplitRule>& rules) {
  std::vector<SplitRule> comparable = rules;
  const auto normalise = [](std::vector<SplitRule>& list) {
    for (SplitRule& r : list) r.pattern = without_raw_newlines(with_plain_characters(r.pattern));
  };
  normalise(comparable);
  std::erase(comparable, SplitRule{});
  for (Known& known : all_known()) {
    normalise(known.rules);
    if (comparable == known.rules) return known.name;
  }
  return "custom";
}

std::string with_plain_characters(std::string_view pattern) {
  std::string out;
  for (size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '\\' || at + 1 == pattern.size()) {
      out += pattern[at++];
      continue;
    }
    const char kind = pattern[at + 1];
    const bool braces = kind == 'x' && pattern.substr(at + 2).starts_with('{');
    const size_t begin = at + 2 + (braces ? 1 : 0);
    const size_t end = braces ? pattern.find('}', begin) : begin + (kind == 'x' ? 2 : 4);
    unsigned code = 0;
    const bool known = (kind == 'x' || kind == 'u') && end <= pattern.size() && end > begin;
    const char* const last = known ? pattern.data() + end : nullptr;
    if (known && std::from_chars(pattern.data() + begin, last, code, 16).ptr == last && code >= 0x80 &&
        code < 0x110000) {
      append_utf8(out, code);
      at = end + (braces ? 1 : 0);
    } else {
      out.append(pattern.substr(at, 2));
      at += 2;
    }
  }
  return out;
}

std::string known_pre_names() {
  std::string names;
  for (const Known& known : all_known())
    if (names.find(known.name) == names.npos) names.append(names.empty() ? "" : ", ").append(known.name);
  return names;
}

PreTokenizer::PreTokenizer(std::vector<SplitRule> rules) : rules_(std::move(rules)) {
  const UnicodeSets unicode;
  for (const SplitRule& r : rules_) {
    if (r.pattern.empty())
      steps_.emplace_back(std::nullopt);
    else
      steps_.emplace_back(Regex(r.pattern, unicode));
  }
}

void PreTokenizer::collect(RegexSearch& search, size_t size, const SplitRule& rule,
                           std::vector<Scratch::Cut>& cuts) {
  cuts.clear();
  size_t done = 0;
  while (search.next()) {
    const size_t at = search.match_offset(), end = at + search.match().size();
    if (at > done) cuts.push_back({done, at, rule.invert});
    cuts.push_back({at, end, !rule.invert});
    done = end;
  }
  if (size > done) cuts.push_back({done, size, rule.invert});

  using enum SplitBehavior;
  if (rule.behavior == removed) {
    std::erase_if(cuts, [](const Scratch::Cut& cut) { return cut.match; });
    return;
  }
  if (rule.behavior == isolated) return;
  // The rest join some neighbours: a match to what came before it, read forwards or backwards, or like to
  // like.
  const bool backwards = rule.behavior == merged_with_next;
  if (backwards) std::reverse(cuts.begin(), cuts.end());
  std::vector<Scratch::Cut> joined;
  bool previous_match = false;
  for (const Scratch::Cut& cut : cuts) {
    const bool join =
        rule.behavior == contiguous ? cut.match == previous_match : cut.match && !previous_match;
    previous_match = cut.match;
    if (!join || joined.empty()) {
      joined.push_back(cut);
    } else {
      joined.back().begin = std::min(joined.back().begin, cut.begin);
      joined.back().end = std::max(joined.back().end, cut.end);
    }
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  cuts = std::move(joined);
}

}  // namespace minke
