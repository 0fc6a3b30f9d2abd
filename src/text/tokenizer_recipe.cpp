#include "text/tokenizer_recipe.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "text/chat.h"
#include "text/tokenizer_draft.h"
#include "text/utf8.h"

namespace minke {
namespace {

std::vector<TokenFamily> all_families() {
  return {
      {.name = "deepseek",
       .bos = "<｜begin▁of▁sentence｜>",
       .eos = "<｜end▁of▁sentence｜>",
       .pad = "<｜▁pad▁｜>",
       .chat = "deepseek-v3",
       .tokens = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜fim▁hole｜>",
                  "<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜User｜>", "<｜Assistant｜>",
                  "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
                  "<｜tool▁call▁end｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>",
                  "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁sep｜>"},
       .plain = {"<think>", "</think>"},
       .add_bos = true},
      {.name = "chatml",
       .bos = "",
       .eos = "<|endoftext|>",
       .pad = "<|endoftext|>",
       .chat = "chatml",
       .tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>",
                  "<|fim_suffix|>"},
       .plain = {}},
      {.name = "llama3",
       .bos = "<|begin_of_text|>",
       .eos = "<|end_of_text|>",
       .pad = "<|finetune_right_pad_id|>",
       .chat = "llama3",
       .tokens = {"<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>",
                  "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|fim_prefix|>", "<|fim_middle|>",
                  "<|fim_suffix|>"},
       .plain = {},
       .add_bos = true},
      {.name = "plain",
       .bos = "<|bos|>",
       .eos = "<|eos|>",
       .pad = "<|pad|>",
       .chat = "",
       .tokens = {"<|bos|>", "<|eos|>", "<|pad|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"},
       .plain = {},
       .add_bos = true},
  };
}

// Texts that a draft's views point to.
struct Owned {
  LearnedBpe learned;
  std::vector<std::string> texts;  // [id] as files write them
};

}  // namespace

std::vector<std::string_view> token_family_names() {
  std::vector<std::string_view> names;
  for (const TokenFamily& family : all_families()) names.push_back(family.name);
  return names;
}

TokenFamily token_family(std::string_view name) {
  for (TokenFamily& family : all_families())
    if (family.name == name) return std::move(family);
  throw Error(fmt::format("there is no '{}'", name), "--tokens",
              fmt::format("known are {}", fmt::join(token_family_names(), ", ")));
}

std::vector<std::string> TokenizerRecipe::added() const {
  if (!known_split_rules(pre))
    throw Error(fmt::format("there is no pre-tokeniser '{}'", pre), "--pre",
                fmt::format("known are {}", known_pre_names()));
  const TokenFamily tokens = token_family(family);
  std::vector<std::string> all(tokens.tokens.begin(), tokens.tokens.end());
  all.insert(all.end(), tokens.plain.begin(), tokens.plain.end());
  for (const std::string& text : special) {
    if (text.empty() || find_invalid_utf8(text) != text.npos)
      throw Error("a special token is empty or no UTF-8", "--special");
    if (std::ranges::count(all, text) > 0)
      throw Error(fmt::format("'{}' is there already", text), "--special");
    all.push_back(text);
  }
  return all;
}

TokenizerFiles make_tokenizer(const TokenizerRecipe& recipe, const LearnedBpe& learned) {
  const std::vector<std::string> added = recipe.added();
  const TokenFamily family = token_family(recipe.family);
  auto owned = std::make_shared<Owned>();
  for (const std::string& bytes : learned.tokens) owned->texts.push_back(byte_level_text(bytes));
  owned->texts.insert(owned->texts.end(), added.begin(), added.end());

  TokenizerDraft draft;
  draft.tokens.assign(owned->texts.begin(), owned->texts.end());
  draft.kinds.assign(learned.tokens.size(), TokenKind::ordinary);
  const auto is_plain = [&](const std::string& text) { return std::ranges::count(family.plain, text) > 0; };
  for (const std::string& text : added) {
    const auto id = static_cast<Token>(draft.kinds.size());
    draft.kinds.push_back(is_plain(text) ? TokenKind::added : TokenKind::special);
    draft.added.push_back({.id = id, .text = text, .special = !is_plain(text)});
    if (text == family.bos) draft.bos = id;
    if (text == family.eos) draft.eos = id;
    if (text == family.pad) draft.pad = id;
  }
  for (const auto& [left, right] : learned.merges)
    draft.merges.emplace_back(draft.tokens[static_cast<size_t>(left)],
                              draft.tokens[static_cast<size_t>(right)]);
  draft.rules = *known_split_rules(recipe.pre);
  draft.pre_name = std::string(canonical_pre_name(recipe.pre));
  draft.normalizer = implied_normalizer(draft.pre_name);
  draft.bpe.ignore_merges = implied_ignore_merges(draft.pre_name);
  draft.add_bos = family.add_bos;
  if (!family.chat.empty())
    draft.templates["default"] = std::string(ChatFormat::built_in(family.chat, {}).source());
  return TokenizerFiles::of(std::move(owned), std::move(draft));
}

}  // namespace minke
