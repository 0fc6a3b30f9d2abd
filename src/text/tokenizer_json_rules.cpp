#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Kind = NormalizerStep::Kind;

[[noreturn]] void unsupported(const Json& json, const char* help) {
  throw Error(fmt::format("'{}' is not supported", excerpt(json.at("type").as_string())), "type", help);
}

// {"String": text} or {"Regex": pattern}, as a regular expression.
std::string read_pattern(const Json& json) {
  return in_field("pattern", [&] {
    if (const Json* regex = json.find("Regex")) return regex->as_string();
    std::string escaped;
    for (const char c : json.at("String").as_string()) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                         static_cast<unsigned char>(c) >= 0x80 || static_cast<unsigned char>(c) <= 0x20;
      escaped.append(plain ? "" : "\\").append(1, c);
    }
    return escaped;
  });
}

std::string read_string(const Json& json, std::string_view key) {
  return in_field(key, [&] { return json.at(key).as_string(); });
}

bool read_bool(const Json& json, std::string_view key, bool otherwise) {
  const Json* value = json.find(key);
  if (value == nullptr || value->is_null()) return otherwise;
  return in_field(key, [&] { return value->as_bool(); });
}

SplitBehavior read_behavior(const Json& json) {
  constexpr std::pair<const char*, SplitBehavior> kNames[] = {
      {"Isolated", SplitBehavior::isolated},
      {"Removed", SplitBehavior::removed},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous},
  };
  const std::string name = read_string(json, "behavior");
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  throw Error(fmt::format("'{}' is unknown", excerpt(name)), "behavior");
}

// Calls f for the step, or for each step of a Sequence.
template <typename F>
void for_each_step(const Json& json, std::string_view list, F&& f) {
  if (read_string(json, "type") != "Sequence") return f(json);
  refuse_unknown(json, {"type", list});
  in_field(list, [&] {
    int i = 0;
    for (const Json& step : json.at(list).as_array())
      in_field(fmt::format("{}", i++), [&] { for_each_step(step, list, f); });
  });
}

}  // namespace

void refuse_unknown(const Json& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.as_object())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw Error(fmt::format("unknown field '{}'", excerpt(key)));
}

std::vector<NormalizerStep> read_normalizer(const Json& normalizer) {
  std::vector<NormalizerStep> steps;
  if (normalizer.is_null()) return steps;
  for_each_step(normalizer, "normalizers", [&](const Json& json) {
    const std::string& type = json.at("type").as_string();
    if (type == "Replace") {
      refuse_unknown(json, {"type", "pattern", "content"});
      const Json& pattern = json.at("pattern");
      steps.push_back(
          {.kind = Kind::replace, .pattern = read_pattern(pattern), .content = read_string(json, "content")});
      return;
    }
    if (type == "Prepend") {
      refuse_unknown(json, {"type", "prepend"});
      steps.push_back({.kind = Kind::prepend, .content = read_string(json, "prepend")});
      return;
    }
    refuse_unknown(json, {"type"});
    if (type == "NFC")
      steps.push_back({.kind = Kind::nfc});
    else if (type == "NFD")
      steps.push_back({.kind = Kind::nfd});
    else if (type == "NFKC")
      steps.push_back({.kind = Kind::nfkc});
    else if (type == "NFKD")
      steps.push_back({.kind = Kind::nfkd});
    else if (type == "Lowercase")
      steps.push_back({.kind = Kind::lowercase});
    else
      unsupported(json, "supported are NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace");
  });
  return steps;
}

std::vector<SplitRule> read_pre_tokenizer(const Json& pre_tokenizer) {
  constexpr const char* kOnlyBytes = "only byte-level BPE is supported";
  std::vector<SplitRule> rules;
  bool byte_level = false;
  const auto read = [&](const Json& json) {
    const std::string& type = json.at("type").as_string();
    if (byte_level) throw Error(fmt::format("'{}' after ByteLevel is not supported", excerpt(type)));
    if (type == "ByteLevel") {
      refuse_unknown(json, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
      SplitRule rule;
      if (read_bool(json, "use_regex", true)) rule.pattern = kGpt2Pattern;
      rule.prefix_space = read_bool(json, "add_prefix_space", true);
      if (rule != SplitRule{}) rules.push_back(std::move(rule));
      byte_level = true;
    } else if (type == "Split") {
      refuse_unknown(json, {"type", "pattern", "behavior", "invert"});
      rules.push_back({.pattern = read_pattern(json.at("pattern")),
                       .behavior = read_behavior(json),
                       .invert = read_bool(json, "invert", false)});
    } else if (type == "Digits") {
      refuse_unknown(json, {"type", "individual_digits"});
      const bool single = read_bool(json, "individual_digits", false);
      rules.push_back(
          {.pattern = R"(\p{N})", .behavior = single ? SplitBehavior::isolated : SplitBehavior::contiguous});
    } else if (type == "Punctuation") {
      refuse_unknown(json, {"type", "behavior"});
      rules.push_back({.pattern = R"([!-/:-@\[-`{-~\p{P}])",
                       .behavior = json.find("behavior") ? read_behavior(json) : SplitBehavior::isolated});
    } else {
      unsupported(json, "supported are ByteLevel, Split, Digits, Punctuation");
    }
  };
  if (pre_tokenizer.is_null()) throw Error("there is none", {}, kOnlyBytes);
  for_each_step(pre_tokenizer, "pretokenizers", read);
  if (!byte_level) throw Error("there is no ByteLevel", {}, kOnlyBytes);
  return rules;
}

}  // namespace minke
