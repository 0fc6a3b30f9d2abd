#include "text/tokenizer_json.h"

#include <limits>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gzip.h"
#include "text/tokenizer_draft.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20, kMaxTemplateBytes = size_t{4} << 20;

const Json& member(const Json& json, std::string_view key) {
  return in_field(key, [&]() -> const Json& { return json.at(key); });
}

// A member that is absent, null or at the one value that changes nothing.
void refuse_unless(const Json& model, std::string_view key, const Json& harmless) {
  const Json* value = model.find(key);
  if (value == nullptr || value->is_null() || *value == harmless) return;
  throw Error(fmt::format("{} is not supported", excerpt(to_string(*value))), std::string(key));
}

bool flag(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value && !value->is_null() && in_field(key, [&] { return value->as_bool(); });
}

std::vector<AddedToken> read_added_tokens(const Json& json) {
  std::vector<AddedToken> tokens;
  if (json.is_null()) return tokens;
  for (const Json& entry : json.as_array()) {
    in_field(fmt::format("{}", tokens.size()), [&] {
      refuse_unknown(entry, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      AddedToken token;
      const int64_t id = in_field("id", [&] { return entry.at("id").as_int(); });
      if (id < 0 || id > std::numeric_limits<Token>::max())
        throw Error(fmt::format("{} is no token id", id), "id");
      token.id = static_cast<Token>(id);
      token.text = in_field("content", [&] { return entry.at("content").as_string(); });
      token.special = flag(entry, "special");
      token.normalized = flag(entry, "normalized");
      token.lstrip = flag(entry, "lstrip");
      token.rstrip = flag(entry, "rstrip");
      token.single_word = flag(entry, "single_word");
      tokens.push_back(std::move(token));
    });
  }
  return tokens;
}

// Ids of the vocabulary and of the added tokens together must be 0, 1, 2, ... without a hole.
void place_tokens(TokenizerDraft& draft, const JsonObject& vocab) {
  std::unordered_map<Token, const AddedToken*> added;
  size_t count = vocab.size();
  for (const AddedToken& token : draft.added)
    if (!added.emplace(token.id, &token).second)
      throw Error(fmt::format("'{}' and '{}' are both token {}", excerpt(added[token.id]->text),
                              excerpt(token.text), token.id),
                  "added_tokens");
  std::vector<bool> taken(vocab.size() + added.size());
  draft.tokens.resize(taken.size());
  draft.kinds.resize(taken.size(), TokenKind::ordinary);
  in_field("model: vocab", [&] {
    for (const auto& [text, value] : vocab) {
      if (!value.is_int())
        throw Error(fmt::format("expected a token id, found {}", value.type_name()), excerpt(text));
      const int64_t id = value.as_int();
      if (id < 0 || static_cast<size_t>(id) >= taken.size())
        throw Error(fmt::format("'{}' is token {}, but {} tokens have ids below {}", excerpt(text), id,
                                taken.size(), taken.size()));
      const auto i = static_cast<size_t>(id);
      if (taken[i])
        throw Error(
            fmt::format("'{}' and '{}' are both token {}", excerpt(draft.tokens[i]), excerpt(text), id));
      taken[i] = true;
      draft.tokens[i] = text;
    }
  });
  for (const AddedToken& token : draft.added) {
    in_field(fmt::format("added_tokens: '{}'", excerpt(token.text)), [&] {
      const auto i = static_cast<size_t>(token.id);
      if (i < taken.size() && !taken[i]) ++count;
      if (i >= taken.size())
        throw Error(fmt::format("it is token {}, but {} tokens have ids below {}", token.id, taken.size(),
                                taken.size()));
      std::string bytes;
      if (taken[i] && draft.tokens[i] != token.text)
        throw Error(fmt::format("it is token {}, and so is '{}'", token.id, excerpt(draft.tokens[i])));
      if (taken[i] && append_byte_level(bytes, token.text) && bytes != token.text)
        throw Error(fmt::format("as token {} of the vocabulary it stands for other bytes", token.id));
      taken[i] = true;
      draft.tokens[i] = token.text;
      draft.kinds[i] = token.special ? TokenKind::special : TokenKind::added;
    });
  }
  draft.tokens.resize(count);
  draft.kinds.resize(count);
  for (size_t i = 0; i < count; ++i)
    if (!taken[i])
      throw Error(fmt::format("no token has the id {}, though there are {}", i, count), "model: vocab");
}

std::vector<MergeRule> read_merges(const Json& json) {
  std::vector<MergeRule> merges;
  merges.reserve(json.as_array().size());
  for (const Json& entry : json.as_array()) {
    const auto bad = [&] {
      return Error(fmt::format("merge {} is {}, not two pieces", merges.size(), excerpt(to_string(entry))));
    };
    if (entry.is_string()) {
      const std::string_view text = entry.as_string();
      if (merges.empty() && text.starts_with("#version")) continue;
      const auto merge = split_merge(text);
      if (!merge) throw bad();
      merges.push_back(*merge);
    } else {
      if (!entry.is_array() || entry.as_array().size() != 2) throw bad();
      const Json &left = entry.as_array()[0], &right = entry.as_array()[1];
      if (!left.is_string() || !right.is_string()) throw bad();
      merges.emplace_back(left.as_string(), right.as_string());
    }
  }
  return merges;
}

std::optional<Token> find_token(const TokenizerDraft& draft, std::string_view text) {
  for (size_t i = 0; i < draft.tokens.size(); ++i)
    if (draft.tokens[i] == text) return static_cast<Token>(i);
  return std::nullopt;
}

void read_model(TokenizerDraft& draft, const Json& model) {
  refuse_unknown(model, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                         "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (const Json* type = model.find("type"); type && *type != Json("BPE"))
    throw Error(fmt::format("{} is not supported", excerpt(to_string(*type))), "type",
                "only byte-level BPE is supported");
  refuse_unless(model, "dropout", 0.0);
  refuse_unless(model, "continuing_subword_prefix", "");
  refuse_unless(model, "end_of_word_suffix", "");
  refuse_unless(model, "byte_fallback", false);
  draft.bpe.ignore_merges = flag(model, "ignore_merges");
  draft.bpe.fuse_unk = flag(model, "fuse_unk");
  draft.merges = in_field("merges", [&] { return read_merges(model.at("merges")); });
  if (const Json* unk = model.find("unk_token"); unk && !unk->is_null() && *unk != Json("")) {
    in_field("unk_token", [&] {
      draft.bpe.unk = find_token(draft, unk->as_string());
      if (!draft.bpe.unk)
        throw Error(fmt::format("'{}' is not in the vocabulary", excerpt(unk->as_string())));
    });
  }
}

// Whether it begins each text with a token, and which. Other effects of post-processors concern pairs of
// texts.
void read_post_processor(TokenizerDraft& draft, const Json& json) {
  if (json.is_null()) return;
  const std::string& type = member(json, "type").as_string();
  if (type == "Sequence") {
    for (const Json& step : member(json, "processors").as_array()) read_post_processor(draft, step);
  } else if (type == "TemplateProcessing") {
    const JsonArray& single = member(json, "single").as_array();
    const Json* special = single.empty() ? nullptr : single[0].find("SpecialToken");
    if (special == nullptr) return;
    const std::string& name = member(*special, "id").as_string();
    draft.bos = find_token(draft, name);
    if (!draft.bos) throw Error(fmt::format("'{}' is not in the vocabulary", excerpt(name)), "single");
    draft.add_bos = true;
  } else if (type != "ByteLevel") {
    throw Error(fmt::format("'{}' is not supported", excerpt(type)), "type");
  }
}

void check_decoder(const Json& json) {
  if (json.is_null()) return;
  const std::string& type = member(json, "type").as_string();
  if (type == "Sequence") {
    for (const Json& step : member(json, "decoders").as_array()) check_decoder(step);
  } else if (type != "ByteLevel") {
    throw Error(fmt::format("'{}' is not supported", excerpt(type)), "type",
                "only byte-level BPE is supported");
  }
}

std::optional<Token> read_named_token(const TokenizerDraft& draft, const Json& config, std::string_view key) {
  const Json* value = config.find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return in_field(key, [&] {
    const std::string& text = (value->is_object() ? member(*value, "content") : *value).as_string();
    if (const auto token = find_token(draft, text)) return token;
    throw Error(fmt::format("'{}' is not in the vocabulary", excerpt(text)));
  });
}

void read_templates(TokenizerDraft& draft, const Json& json) {
  if (json.is_string()) {
    draft.templates["default"] = json.as_string();
  } else if (!json.is_null()) {
    for (const Json& entry : json.as_array())
      draft.templates[member(entry, "name").as_string()] = member(entry, "template").as_string();
  }
}

void read_config(TokenizerDraft& draft, const Json& config) {
  config.as_object();
  if (const auto bos = read_named_token(draft, config, "bos_token")) draft.bos = bos;
  draft.eos = read_named_token(draft, config, "eos_token");
  if (const Json* pad = config.find("pad_token"); pad && !pad->is_null()) {  // for training: never refused
    const Json* text = pad->is_object() ? pad->find("content") : pad;
    if (text && text->is_string()) draft.pad = find_token(draft, text->as_string());
  }
  if (const Json* add = config.find("add_bos_token"); add && !add->is_null()) {
    draft.add_bos = in_field("add_bos_token", [&] { return add->as_bool(); });
  } else if (const Json* kind = config.find("tokenizer_class")) {
    // These two add it unless told otherwise.
    if (*kind == Json("LlamaTokenizer") || *kind == Json("LlamaTokenizerFast")) draft.add_bos = true;
  }
  if (const Json* templates = config.find("chat_template"))
    in_field("chat_template", [&] { read_templates(draft, *templates); });
  draft.add_bos = draft.add_bos && draft.bos;
}

void read_tokenizer(TokenizerDraft& draft, const Json& json) {
  const Json none;
  const auto optional = [&](const char* key) -> const Json& {
    const Json* value = json.find(key);
    return value ? *value : none;
  };
  json.as_object();
  in_field("added_tokens", [&] { draft.added = read_added_tokens(optional("added_tokens")); });
  const Json& model = member(json, "model");
  place_tokens(
      draft, in_field("model: vocab", [&]() -> const JsonObject& { return model.at("vocab").as_object(); }));
  in_field("model", [&] { read_model(draft, model); });
  in_field("normalizer", [&] { draft.normalizer = read_normalizer(optional("normalizer")); });
  in_field("pre_tokenizer", [&] { draft.rules = read_pre_tokenizer(optional("pre_tokenizer")); });
  in_field("post_processor", [&] { read_post_processor(draft, optional("post_processor")); });
  in_field("decoder", [&] { check_decoder(optional("decoder")); });
  draft.pre_name = pre_name_of(draft.rules);
  if (draft.pre_name == "qwen2" && draft.normalizer.empty()) draft.pre_name = "deepseek-r1-qwen";
}

// The chat templates that newer folders keep in files of their own.
void read_template_files(TokenizerDraft& draft, const fs::path& folder) {
  const fs::path as_json = folder / "chat_template.json", as_jinja = folder / "chat_template.jinja";
  if (fs::exists(as_json)) {
    in_field(as_json.string(), [&] {
      read_templates(draft, member(parse_json(read_file(as_json, kMaxTemplateBytes)), "chat_template"));
    });
  }
  if (fs::exists(as_jinja)) draft.templates["default"] = read_file(as_jinja, kMaxTemplateBytes);
  const fs::path more = folder / "additional_chat_templates";
  if (!fs::is_directory(more)) return;
  for (const auto& entry : fs::directory_iterator(more))
    if (entry.path().extension() == ".jinja")
      draft.templates[entry.path().stem().string()] = read_file(entry.path(), kMaxTemplateBytes);
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view tokenizer_json, std::string_view name,
                               std::string_view tokenizer_config) {
  return in_field(name, [&] {
    TokenizerDraft draft;
    const Json json = parse_json(tokenizer_json);
    read_tokenizer(draft, json);
    if (!tokenizer_config.empty())
      in_field("tokenizer_config", [&] { read_config(draft, parse_json(tokenizer_config)); });
    return Tokenizer(std::make_unique<const Impl>(std::move(draft)));
  });
}

Json parse_tokenizer_json(const fs::path& tokenizer_json) {
  const MappedFile file(tokenizer_json);
  return in_field(tokenizer_json.string(), [&] {
    if (is_gzip(file.bytes())) return parse_json(gunzip(file.bytes(), JsonLimits().max_bytes));
    return parse_json(as_text(file.bytes()));
  });
}

TokenizerDraft read_tokenizer_draft(const Json& json, const fs::path& tokenizer_json) {
  TokenizerDraft draft;
  in_field(tokenizer_json.string(), [&] { read_tokenizer(draft, json); });
  const fs::path config = tokenizer_json.parent_path() / "tokenizer_config.json";
  if (fs::exists(config))
    in_field(config.string(), [&] { read_config(draft, parse_json(read_file(config, kMaxConfigBytes))); });
  read_template_files(draft, tokenizer_json.parent_path());
  return draft;
}

Tokenizer Tokenizer::from_file(const fs::path& tokenizer_json) {
  const Json json = parse_tokenizer_json(tokenizer_json);
  TokenizerDraft draft = read_tokenizer_draft(json, tokenizer_json);
  return in_field(tokenizer_json.string(),
                  [&] { return Tokenizer(std::make_unique<const Impl>(std::move(draft))); });
}

}  // namespace minke
