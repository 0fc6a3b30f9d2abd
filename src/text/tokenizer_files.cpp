#include "text/tokenizer_files.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "text/tokenizer_draft.h"
#include "text/utf8.h"

namespace minke {
namespace {

// tokenizer.ggml.token_type
enum GgufTokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

// Shaped like a control token, which other programs then must not find in what users type.
bool looks_special(std::string_view text) {
  return (text.starts_with("<|") && text.ends_with("|>")) ||
         (text.starts_with("<｜") && text.ends_with("｜>"));
}

int32_t type_of(const TokenizerDraft& draft, size_t id) {
  switch (draft.kinds[id]) {
    case TokenKind::special: return kControl;
    case TokenKind::added: return looks_special(draft.tokens[id]) ? kControl : kUserDefined;
    case TokenKind::unused: return kUnused;
    case TokenKind::ordinary:
    case TokenKind::literal: break;
  }
  return kNormal;
}

// The name other programs know the rules by. Throws where there is none.
void check_rules(const TokenizerDraft& draft) {
  if (draft.pre_name == "custom")
    throw Error("its pre-tokeniser is none of those that GGUF files have names for", "tokenizer.json",
                "known are " + known_pre_names());
  if (draft.normalizer != implied_normalizer(draft.pre_name))
    throw Error(
        fmt::format("its normalizer is not that of '{}', and a GGUF file can say no other", draft.pre_name),
        "tokenizer.json");
}

void add_tokens(GgufHeader& header, const TokenizerDraft& draft, size_t vocab) {
  std::vector<std::string> padding;
  for (size_t id = draft.tokens.size(); id < vocab; ++id) padding.push_back(fmt::format("[PAD{}]", id));
  std::vector<std::string_view> tokens = draft.tokens;
  tokens.insert(tokens.end(), padding.begin(), padding.end());
  std::vector<int32_t> types(vocab, kUnused), plain;
  for (size_t id = 0; id < draft.tokens.size(); ++id) {
    types[id] = type_of(draft, id);
    if (types[id] == kControl && draft.kinds[id] == TokenKind::added)
      plain.push_back(static_cast<int32_t>(id));
  }
  header.add("tokenizer.ggml.tokens", std::span<const std::string_view>(tokens));
  header.add("tokenizer.ggml.token_type", std::span<const int32_t>(types));
  if (!plain.empty()) header.add(kNotSpecialKey, std::span<const int32_t>(plain));
}

void add_merges(GgufHeader& header, const TokenizerDraft& draft) {
  std::vector<std::string> merges;
  merges.reserve(draft.merges.size());
  for (const auto& [left, right] : draft.merges) {
    merges.push_back(fmt::format("{} {}", left, right));
    if (!split_merge(merges.back()))
      throw Error(fmt::format("merge {} has a space in '{}'", merges.size() - 1, excerpt(merges.back())),
                  "tokenizer.json", "a GGUF file cannot hold it");
  }
  header.add("tokenizer.ggml.merges", std::span<const std::string>(merges));
}

void add_text(GgufHeader& header, std::string_view key, std::string_view text) {
  header.add(key, {GgufType::string, text});
}

void add_templates(GgufHeader& header, const TokenizerDraft& draft) {
  std::vector<std::string> others;
  for (const auto& [name, text] : draft.templates) {
    if (name == "default") {
      add_text(header, "tokenizer.chat_template", text);
      continue;
    }
    add_text(header, "tokenizer.chat_template." + name, text);
    others.push_back(name);
  }
  if (!others.empty()) header.add("tokenizer.chat_templates", std::span<const std::string>(others));
}

// ---- tokenizer.json

std::string checked(std::string_view text) {
  if (find_invalid_utf8(text) != text.npos)
    throw Error(fmt::format("'{}' is not UTF-8", excerpt(text)), "the vocabulary",
                "a tokenizer.json cannot hold it");
  return std::string(text);
}

Json added_token(const AddedToken& token, bool with_id) {
  Json json = JsonObject{};
  if (with_id) json.set("id", token.id);
  json.set("content", checked(token.text));
  json.set("single_word", token.single_word);
  json.set("lstrip", token.lstrip);
  json.set("rstrip", token.rstrip);
  json.set("normalized", token.normalized);
  json.set("special", token.special);
  return json;
}

Json normalizer_json(const TokenizerDraft& draft) {
  JsonArray steps;
  for (const NormalizerStep& step : draft.normalizer) {
    MINKE_CHECK(step.kind == NormalizerStep::Kind::nfc);  // the one there is outside of a tokenizer.json
    steps.push_back(JsonObject{{"type", "NFC"}});
  }
  if (steps.empty()) return {};
  if (steps.size() == 1) return steps[0];
  return JsonObject{{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

const char* behavior_name(SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::isolated: return "Isolated";
    case SplitBehavior::removed: return "Removed";
    case SplitBehavior::merged_with_previous: return "MergedWithPrevious";
    case SplitBehavior::merged_with_next: return "MergedWithNext";
    case SplitBehavior::contiguous: return "Contiguous";
  }
  MINKE_CHECK(false);
}

Json byte_level(bool use_regex) {
  return JsonObject{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

// ByteLevel brings GPT-2's own rule with it, where that is the last one.
Json pre_tokenizer_json(const TokenizerDraft& draft) {
  JsonArray steps;
  const bool gpt2 =
      !draft.rules.empty() && draft.rules.back() == SplitRule{.pattern = std::string(kGpt2Pattern)};
  for (const SplitRule& rule : draft.rules) {
    MINKE_CHECK(!rule.prefix_space);
    if (gpt2 && &rule == &draft.rules.back()) break;
    steps.push_back(JsonObject{{"type", "Split"},
                               {"pattern", JsonObject{{"Regex", with_plain_characters(rule.pattern)}}},
                               {"behavior", behavior_name(rule.behavior)},
                               {"invert", rule.invert}});
  }
  steps.push_back(byte_level(gpt2));
  if (steps.size() == 1) return steps[0];
  return JsonObject{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

// Which puts bos before a text, where the model wants it.
Json post_processor_json(const TokenizerDraft& draft) {
  if (!draft.add_bos || !draft.bos) return byte_level(false);
  const std::string bos = checked(draft.tokens[static_cast<size_t>(*draft.bos)]);
  const auto special = [&](int type) {
    return JsonObject{{"SpecialToken", JsonObject{{"id", bos}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* id, int type) {
    return JsonObject{{"Sequence", JsonObject{{"id", id}, {"type_id", type}}}};
  };
  Json tokens = JsonObject{};
  tokens.set(bos, JsonObject{{"id", bos}, {"ids", JsonArray{*draft.bos}}, {"tokens", JsonArray{bos}}});
  return JsonObject{{"type", "TemplateProcessing"},
                    {"single", JsonArray{special(0), sequence("A", 0)}},
                    {"pair", JsonArray{special(0), sequence("A", 0), special(1), sequence("B", 1)}},
                    {"special_tokens", std::move(tokens)}};
}

// Padding at the end is left out; added tokens that follow the last ordinary one are no part of the
// vocabulary proper, as in published files.
Json model_json(const TokenizerDraft& draft) {
  size_t end = draft.tokens.size();
  const auto outside = [&](TokenKind kind) {
    return kind == TokenKind::unused || kind == TokenKind::added || kind == TokenKind::special;
  };
  while (end > 0 && outside(draft.kinds[end - 1])) --end;
  JsonObject vocab;
  vocab.reserve(end);
  for (size_t id = 0; id < end; ++id)
    vocab.emplace_back(checked(draft.tokens[id]), Json(static_cast<int64_t>(id)));
  JsonArray merges;
  merges.reserve(draft.merges.size());
  for (const auto& [left, right] : draft.merges) merges.push_back(checked(fmt::format("{} {}", left, right)));
  Json model = JsonObject{{"type", "BPE"},
                          {"dropout", {}},
                          {"unk_token", {}},
                          {"continuing_subword_prefix", ""},
                          {"end_of_word_suffix", ""},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"ignore_merges", draft.bpe.ignore_merges}};
  model.set("vocab", std::move(vocab));
  model.set("merges", std::move(merges));
  return model;
}

}  // namespace

TokenizerFiles::TokenizerFiles() = default;
TokenizerFiles::TokenizerFiles(TokenizerFiles&&) noexcept = default;
TokenizerFiles::~TokenizerFiles() = default;

TokenizerFiles TokenizerFiles::read(const fs::path& tokenizer_json) {
  auto json = std::make_shared<const Json>(parse_tokenizer_json(tokenizer_json));
  TokenizerDraft draft = read_tokenizer_draft(*json, tokenizer_json);
  return of(std::move(json), std::move(draft));
}

TokenizerFiles TokenizerFiles::of(std::shared_ptr<const void> owner, TokenizerDraft draft) {
  TokenizerFiles files;
  files.owner_ = std::move(owner);
  files.draft_ = std::make_unique<const TokenizerDraft>(std::move(draft));
  return files;
}

TokenizerFiles TokenizerFiles::read(const Gguf& gguf) {
  TokenizerFiles files;
  files.draft_ = std::make_unique<const TokenizerDraft>(read_tokenizer_draft(gguf));
  return files;
}

void TokenizerFiles::add_to(GgufHeader& header, int vocab, std::optional<Token> bos,
                            std::optional<Token> eos) const {
  const TokenizerDraft& draft = *draft_;
  check_rules(draft);
  if (draft.tokens.size() > static_cast<size_t>(vocab))
    throw Error(fmt::format("it has {} tokens, and the model only {}", draft.tokens.size(), vocab),
                "tokenizer.json", "is it this model's own?");
  add_text(header, "tokenizer.ggml.model", "gpt2");
  add_text(header, "tokenizer.ggml.pre", draft.pre_name);
  add_tokens(header, draft, static_cast<size_t>(vocab));
  add_merges(header, draft);
  const auto add_id = [&](const char* name, std::optional<Token> id) {
    if (id)
      header.add(fmt::format("tokenizer.ggml.{}_token_id", name),
                 {GgufType::u32, static_cast<uint64_t>(*id)});
  };
  add_id("bos", draft.bos ? draft.bos : bos);
  add_id("eos", draft.eos ? draft.eos : eos);
  add_id("padding", draft.pad);
  header.add("tokenizer.ggml.add_bos_token", {GgufType::boolean, draft.add_bos});
  if (draft.bpe.ignore_merges != implied_ignore_merges(draft.pre_name))
    header.add(kIgnoreMergesKey, {GgufType::boolean, draft.bpe.ignore_merges});
  add_templates(header, draft);
}

std::vector<std::string> TokenizerFiles::losses() const {
  std::vector<std::string> losses;
  int64_t strip = 0;
  const AddedToken* first = nullptr;
  for (const AddedToken& token : draft_->added) {
    if (!token.lstrip && !token.rstrip && !token.single_word) continue;
    if (strip++ == 0) first = &token;
  }
  if (first)
    losses.push_back(
        fmt::format("GGUF cannot say lstrip, rstrip and single_word of added tokens: {}{} lose them",
                    in_quotes(first->text), strip > 1 ? fmt::format(" and {} others", strip - 1) : ""));
  return losses;
}

Json TokenizerFiles::tokenizer_json() const {
  const TokenizerDraft& draft = *draft_;
  std::vector<AddedToken> added = draft.added;
  std::ranges::sort(added, {}, &AddedToken::id);
  JsonArray tokens;
  for (const AddedToken& token : added) tokens.push_back(added_token(token, true));
  Json json = JsonObject{{"version", "1.0"}, {"truncation", {}}, {"padding", {}}};
  json.set("added_tokens", std::move(tokens));
  json.set("normalizer", normalizer_json(draft));
  json.set("pre_tokenizer", pre_tokenizer_json(draft));
  json.set("post_processor", post_processor_json(draft));
  json.set("decoder", byte_level(false));
  json.set("model", model_json(draft));
  return json;
}

Json TokenizerFiles::tokenizer_config(int context) const {
  const TokenizerDraft& draft = *draft_;
  Json decoder = JsonObject{};
  for (const AddedToken& token : draft.added)
    decoder.set(fmt::format("{}", token.id), added_token(token, false));
  const auto text_of = [&](std::optional<Token> id) {
    return id ? Json(checked(draft.tokens[static_cast<size_t>(*id)])) : Json();
  };
  Json json = JsonObject{{"add_bos_token", draft.add_bos}, {"add_eos_token", false}};
  json.set("added_tokens_decoder", std::move(decoder));
  json.set("bos_token", text_of(draft.bos));
  json.set("eos_token", text_of(draft.eos));
  json.set("pad_token", text_of(draft.pad));
  json.set("clean_up_tokenization_spaces", false);
  json.set("model_max_length", context);
  json.set("tokenizer_class", "PreTrainedTokenizerFast");
  if (draft.templates.empty()) return json;
  const auto main = draft.templates.find("default");
  if (draft.templates.size() == 1 && main != draft.templates.end()) {
    json.set("chat_template", checked(main->second));
    return json;
  }
  JsonArray list;
  for (const auto& [name, text] : draft.templates)
    list.push_back(JsonObject{{"name", checked(name)}, {"template", checked(text)}});
  json.set("chat_template", std::move(list));
  return json;
}

}  // namespace minke
