#pragma once
// A new tokenizer: what goes into it beside what is learned.

#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_train.h"
#include "text/tokenizer_files.h"

namespace minke {

// The added tokens of a family of models, in the order of their ids.
struct TokenFamily {
  std::string_view name;
  std::string_view bos, eos, pad;
  std::string_view chat;                 // the built-in chat format it speaks; empty: none
  std::vector<std::string_view> tokens;  // special ones; bos, eos and pad among them
  std::vector<std::string_view> plain;   // found in texts, but spoken: <think>
  bool add_bos = false;
};

// Throws Error naming the families there are.
TokenFamily token_family(std::string_view name);
std::vector<std::string_view> token_family_names();

struct TokenizerRecipe {
  std::string pre = "deepseek-v3";        // a name of known_split_rules
  std::string family = "deepseek";        // of token_family
  std::vector<std::string> special = {};  // further special tokens

  // Texts of all added tokens. Throws Error: an unknown name, a text that is there twice or empty.
  std::vector<std::string> added() const;
};

// Ids are the learned tokens', then those of the recipe's added tokens.
TokenizerFiles make_tokenizer(const TokenizerRecipe& recipe, const LearnedBpe& learned);

}  // namespace minke
