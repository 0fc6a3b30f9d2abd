#include "text/tokenizer_draft.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kMaxAddedBytes =
    1024;  // of one added token: each place of a text is compared with that much

constexpr const char* kKnownEnds[] = {
    "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
    "<|eot|>",    "<|eom|>",       "<|end|>",         "<|EOT|>",    "<｜end▁of▁sentence｜>",
};
constexpr std::array<const char*, 3> kKnownFim[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
};

Vocabulary make_vocabulary(const TokenizerDraft& draft) {
  Vocabulary vocabulary(draft.tokens, draft.kinds);
  for (const AddedToken& added : draft.added) {
    if (added.text.empty() || added.text.size() > kMaxAddedBytes)
      throw Error(fmt::format("added token {} ('{}') has {} bytes; 1 to {} are allowed", added.id,
                              excerpt(added.text), added.text.size(), kMaxAddedBytes));
    // The same text as an ordinary token is another key of the vocabulary.
    if (std::string ordinary; append_byte_level(ordinary, added.text))
      if (const auto same = vocabulary.find_ordinary(ordinary))
        throw Error(
            fmt::format("added token {} is '{}', and so is token {}", added.id, excerpt(added.text), *same));
  }
  return vocabulary;
}

AddedTokenFinder make_finder(const TokenizerDraft& draft, const Normalizer& normalizer, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : draft.added) {
    if (token.normalized != normalized) continue;
    std::vector<TextRun> runs;
    if (normalized) normalizer.apply(token.text, runs);
    if (!token.text.empty()) tokens.push_back(std::move(token));
  }
  return AddedTokenFinder(std::move(tokens));
}

std::vector<Token> find_ends(const TokenizerDraft& draft, const Vocabulary& vocabulary) {
  std::vector<Token> ends = draft.ends;
  if (draft.eos) ends.push_back(*draft.eos);
  for (const char* text : kKnownEnds)
    if (const auto token = vocabulary.find_other(text);
        token && vocabulary.kind(*token) == TokenKind::special)
      ends.push_back(*token);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return ends;
}

std::optional<FimTokens> find_fim(const TokenizerDraft& draft, const Vocabulary& vocabulary) {
  if (draft.fim) return draft.fim;
  for (const auto& texts : kKnownFim) {
    std::array<Token, 3> ids{};
    bool all = true;
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto found = vocabulary.find_other(texts[i]);
      all = all && found && vocabulary.is_added(*found);
      ids[i] = found.value_or(-1);
    }
    if (all) return FimTokens{ids[0], ids[1], ids[2]};
  }
  return std::nullopt;
}

}  // namespace

std::optional<MergeRule> split_merge(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const MergeRule merge(text.substr(0, space), text.substr(space + 1));
  const bool two =
      !merge.first.empty() && !merge.second.empty() && merge.second.find(' ') == std::string_view::npos;
  return two ? std::optional(merge) : std::nullopt;
}

Tokenizer::Impl::Impl(TokenizerDraft draft)
    : bpe(make_vocabulary(draft), draft.merges, draft.bpe),
      normalizer(std::move(draft.normalizer)),
      pre(std::move(draft.rules)),
      before(make_finder(draft, normalizer, false)),
      after(make_finder(draft, normalizer, true)),
      pre_name(std::move(draft.pre_name)),
      bos(draft.bos),
      eos(draft.eos),
      add_bos(draft.add_bos),
      ends(find_ends(draft, vocabulary())),
      fim(find_fim(draft, vocabulary())),
      templates(std::move(draft.templates)) {
  bool any = false;
  for (int byte = 0; byte < 256; ++byte) any = any || bpe.knows_byte(static_cast<unsigned char>(byte));
  if (!any) throw Error("no token stands for a single byte", {}, "only byte-level BPE is supported");
}

}  // namespace minke
