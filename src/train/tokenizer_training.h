#pragma once
// A tokenizer learned from documents.

#include <cstdint>

#include "text/tokenizer_recipe.h"
#include "train/documents.h"

namespace minke {

struct TokenizerTraining {
  TokenizerRecipe recipe;
  int vocab = 0;       // all tokens, the added ones among them
  uint64_t least = 2;  // a pair seen less often is not merged
  int threads = 1;
  std::function<void(int64_t done, int64_t all)> reading = {}, learning = {};  // bytes of the files; tokens
};

struct TrainedTokenizer {
  TokenizerFiles files;
  int tokens = 0;  // fewer than asked for where the text gives no more
  int64_t documents = 0, bytes = 0, pieces = 0, words = 0;
  double reading_seconds = 0, learning_seconds = 0;
};

// The same for the same files, whatever the threads. Text is cut into pieces by the recipe's pre-tokeniser
// and normaliser; a document of more than a megabyte is cut before that, at the ends of lines. Messages count
// as their contents. Throws Error: of the reader; a vocabulary too small for 256 bytes and the added tokens.
TrainedTokenizer train_tokenizer(DocumentReader& reader, const TokenizerTraining& training);

}  // namespace minke
