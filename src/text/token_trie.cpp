#include "text/token_trie.h"

#include <algorithm>

namespace minke {
namespace {

using Tokens = std::vector<std::pair<std::string_view, Token>>;

// Beyond this a token takes part in nothing: some vocabularies have tokens of a thousand spaces.
constexpr size_t kMaxBytes = 512;

Tokens ordinary(const Tokenizer& tokenizer) {
  Tokens tokens;
  for (Token t = 0; t < tokenizer.size(); ++t)
    if (!tokenizer.is_added(t) && !tokenizer.is_unused(t)) tokens.emplace_back(tokenizer.bytes(t), t);
  return tokens;
}

template <typename IsPlain>
TokenTable::Part part(const Tokenizer& tokenizer, IsPlain is_plain) {
  std::vector<uint8_t> plain(static_cast<size_t>(tokenizer.size()));
  Tokens others;
  for (const auto& token : ordinary(tokenizer)) {
    if (!token.first.empty() && std::ranges::all_of(token.first, is_plain))
      plain[static_cast<size_t>(token.second)] = 1;
    else
      others.push_back(token);
  }
  return {std::move(plain), TokenTrie(std::move(others))};
}

}  // namespace

TokenTrie::TokenTrie(Tokens tokens) {
  std::erase_if(tokens,
                [](const auto& token) { return token.first.empty() || token.first.size() > kMaxBytes; });
  std::ranges::sort(tokens);
  std::vector<size_t> path;  // [depth - 1] the node
  std::string_view last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
  };
  for (const auto& [bytes, token] : tokens) {
    const auto same = std::ranges::mismatch(last, bytes).in1 - last.begin();
    close(static_cast<size_t>(same));
    for (size_t d = path.size(); d < bytes.size(); ++d) {
      path.push_back(nodes_.size());
      const auto here = static_cast<uint32_t>(tokens_.size());
      nodes_.push_back({0, here, here, static_cast<uint16_t>(d + 1), static_cast<uint8_t>(bytes[d])});
    }
    tokens_.push_back(token);
    nodes_[path.back()].last = static_cast<uint32_t>(tokens_.size());
    longest_ = std::max(longest_, static_cast<int>(bytes.size()));
    last = bytes;
  }
  close(0);
}

TokenTable::TokenTable(const Tokenizer& tokenizer)
    : size(tokenizer.size()),
      all(ordinary(tokenizer)),
      json_string(part(
          tokenizer, [](char c) { return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20; })),
      free_text(part(tokenizer, [](char c) { return c != '<'; })) {
  for (Token t = 0; t < size; ++t)
    if (tokenizer.is_added(t) && !tokenizer.is_special(t)) added.push_back(t);
}

}  // namespace minke
