#pragma once
// What a file says about its tokenizer, before it is checked as a whole: tokenizer.json and GGUF both end up
// here.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace minke {

// Views point into the file's text, which must outlive the draft.
struct TokenizerDraft {
  std::vector<std::string_view> tokens;  // [id] as the file writes them
  std::vector<TokenKind> kinds;          // [id]
  std::vector<AddedToken> added;         // those of kind added or special
  std::vector<MergeRule> merges;
  BpeOptions bpe;
  std::vector<NormalizerStep> normalizer;
  std::vector<SplitRule> rules;
  std::string pre_name;
  std::optional<Token> bos, eos, pad;
  bool add_bos = false;
  std::vector<Token> ends;  // beside eos
  std::optional<FimTokens> fim;
  std::map<std::string, std::string, std::less<>> templates;
};

// From a GGUF file's tokenizer.* keys, from a tokenizer.json and what lies beside it (Tokenizer::from_file).
// Gguf and Json must outlive the draft. Throw Error naming file, and key or field.
TokenizerDraft read_tokenizer_draft(const Gguf& gguf);
Json parse_tokenizer_json(const fs::path& tokenizer_json);  // also of its gzip
TokenizerDraft read_tokenizer_draft(const Json& json, const fs::path& tokenizer_json);

// What a GGUF file cannot say in keys that all programs know, and its name for the pre-tokeniser implies.
std::vector<NormalizerStep> implied_normalizer(std::string_view pre_name);
bool implied_ignore_merges(std::string_view pre_name);
// Keys of our own, where it is otherwise.
inline constexpr const char *kIgnoreMergesKey = "minke.tokenizer.ignore_merges",
                            *kNotSpecialKey = "minke.tokenizer.not_special";

// "left right": two pieces with a space between; else nothing.
std::optional<MergeRule> split_merge(std::string_view text);

struct Tokenizer::Impl {
  explicit Impl(TokenizerDraft draft);  // throws Error naming the token or merge at fault

  const Vocabulary& vocabulary() const { return bpe.vocabulary(); }
  std::vector<Token> encode(std::string_view text, const std::vector<TextRun>& runs, bool skip_special) const;
  size_t checked(Token token) const;  // throws where it is out of range

  Bpe bpe;
  Normalizer normalizer;
  PreTokenizer pre;
  AddedTokenFinder before, after;  // normalisation
  std::string pre_name;
  std::optional<Token> bos, eos;
  bool add_bos;
  std::vector<Token> ends;
  std::optional<FimTokens> fim;
  std::map<std::string, std::string, std::less<>> templates;
  std::string no_template;
};

}  // namespace minke
