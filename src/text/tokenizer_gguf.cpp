// The tokenizer.* keys of a GGUF file.

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "text/tokenizer_draft.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

// tokenizer.ggml.token_type; 6 is a byte of SentencePiece vocabularies, which are refused by their model's
// name.
TokenKind kind_of(int64_t type, size_t id) {
  switch (type) {
    case 1: return TokenKind::ordinary;
    case 2:  // the unknown token, which no text spells out either
    case 3: return TokenKind::special;
    case 4: return TokenKind::added;
    case 5: return TokenKind::unused;
    default:
      throw Error(fmt::format("token {} is of type {}, which is unknown", id, type),
                  "tokenizer.ggml.token_type");
  }
}

void read_tokens(TokenizerDraft& draft, const Gguf& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.tokens";
  auto tokens = gguf.strings(kKey);
  if (!tokens) throw Error("missing", kKey);
  draft.tokens = std::move(*tokens);
  draft.kinds.resize(draft.tokens.size(), TokenKind::ordinary);
  const auto types = gguf.integers("tokenizer.ggml.token_type");
  if (!types) return;
  if (types->size() != draft.tokens.size())
    throw Error(fmt::format("{} types for {} tokens", types->size(), draft.tokens.size()),
                "tokenizer.ggml.token_type");
  // Marked as control tokens for other programs' sake, but not special where they come from.
  const auto plain = gguf.integers(kNotSpecialKey).value_or(std::vector<int64_t>());
  for (size_t id = 0; id < types->size(); ++id) {
    TokenKind& kind = draft.kinds[id];
    kind = kind_of((*types)[id], id);
    if (kind == TokenKind::special && std::ranges::binary_search(plain, static_cast<int64_t>(id)))
      kind = TokenKind::added;
    if (kind != TokenKind::added && kind != TokenKind::special) continue;
    AddedToken added;
    added.id = static_cast<Token>(id);
    added.text = draft.tokens[id];
    added.special = kind == TokenKind::special;
    draft.added.push_back(std::move(added));
  }
}

void read_merges(TokenizerDraft& draft, const Gguf& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.merges";
  const auto merges = gguf.strings(kKey);
  if (!merges) throw Error("missing", kKey);
  draft.merges.reserve(merges->size());
  for (const std::string_view text : *merges) {
    const auto merge = split_merge(text);
    if (!merge)
      throw Error(fmt::format("merge {} is '{}', not two pieces", draft.merges.size(), excerpt(text)), kKey);
    draft.merges.push_back(*merge);
  }
}

// A key that names a token; several names were used for some.
std::optional<Token> read_id(const TokenizerDraft& draft, const Gguf& gguf,
                             std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    const auto id = gguf.integer(key);
    // A file may say "none" with the largest number, unsigned or not.
    if (!id || *id == -1 || *id == std::numeric_limits<uint32_t>::max()) continue;
    if (*id < 0 || static_cast<uint64_t>(*id) >= draft.tokens.size())
      throw Error(fmt::format("token {} does not exist; there are {}", *id, draft.tokens.size()), key);
    return static_cast<Token>(*id);
  }
  return std::nullopt;
}

// unknown_token_id is not among them: files name one even where the published tokenizer has none.
void read_special_ids(TokenizerDraft& draft, const Gguf& gguf) {
  draft.bos = read_id(draft, gguf, {"bos"});
  draft.eos = read_id(draft, gguf, {"eos"});
  draft.pad = read_id(draft, gguf, {"padding"});
  for (const char* name : {"eot", "eom"})
    if (const auto id = read_id(draft, gguf, {name})) draft.ends.push_back(*id);
  const auto prefix = read_id(draft, gguf, {"fim_pre", "prefix"});
  const auto suffix = read_id(draft, gguf, {"fim_suf", "suffix"});
  const auto middle = read_id(draft, gguf, {"fim_mid", "middle"});
  if (prefix && suffix && middle) draft.fim = FimTokens{*prefix, *suffix, *middle};
}

void read_templates(TokenizerDraft& draft, const Gguf& gguf) {
  for (const auto& [key, value] : gguf.metadata()) {
    const auto* text = std::get_if<std::string_view>(&value.value);
    if (text == nullptr || !key.starts_with(kTemplateKey)) continue;
    const std::string_view rest = std::string_view(key).substr(kTemplateKey.size());
    if (rest.empty())
      draft.templates["default"] = *text;
    else if (rest[0] == '.')
      draft.templates[std::string(rest.substr(1))] = *text;
  }
}

void read_rules(TokenizerDraft& draft, const Gguf& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.pre";
  const auto pre = gguf.string(kKey);
  const std::string known = "known are " + known_pre_names();
  if (!pre) throw Error("missing", kKey, known + "; convert the model anew");
  auto rules = known_split_rules(*pre);
  if (!rules) throw Error(fmt::format("pre-tokeniser '{}' is unknown", excerpt(*pre)), kKey, known);
  draft.rules = std::move(*rules);
  draft.pre_name = canonical_pre_name(*pre);
  draft.normalizer = implied_normalizer(draft.pre_name);
  draft.bpe.ignore_merges = gguf.boolean(kIgnoreMergesKey).value_or(implied_ignore_merges(draft.pre_name));
  const bool llama3 = draft.pre_name == "llama-bpe";
  draft.add_bos = gguf.boolean("tokenizer.ggml.add_bos_token").value_or(llama3) && draft.bos;
}

TokenizerDraft read_draft(const Gguf& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.model";
  const auto model = gguf.string(kKey);
  if (!model)
    throw Error("missing", kKey,
                "the file has no tokenizer; it may be one part of several, or not a text model");
  if (*model != "gpt2") {
    throw Error(fmt::format("tokenizer '{}' is not supported", excerpt(*model)), kKey,
                "only 'gpt2', byte-level BPE, is: choose a model of the Llama 3, Qwen or DeepSeek families");
  }
  TokenizerDraft draft;
  read_tokens(draft, gguf);
  read_merges(draft, gguf);
  read_special_ids(draft, gguf);
  read_rules(draft, gguf);
  read_templates(draft, gguf);
  return draft;
}

}  // namespace

std::vector<NormalizerStep> implied_normalizer(std::string_view pre_name) {
  if (pre_name == "qwen2") return {{.kind = NormalizerStep::Kind::nfc}};
  return {};
}

bool implied_ignore_merges(std::string_view pre_name) { return pre_name == "llama-bpe"; }

TokenizerDraft read_tokenizer_draft(const Gguf& gguf) {
  try {
    return read_draft(gguf);
  } catch (const Error& error) {
    throw error.within(gguf.path().string());
  }
}

Tokenizer Tokenizer::from_gguf(const Gguf& gguf) {
  TokenizerDraft draft = read_tokenizer_draft(gguf);
  try {
    return Tokenizer(std::make_unique<const Impl>(std::move(draft)));
  } catch (const Error& error) {
    throw error.within(gguf.path().string());
  }
}

}  // namespace minke
