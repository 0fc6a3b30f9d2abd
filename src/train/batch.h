#pragma once
// What one pass of training reads: rows of tokens, each of one document or of several.

#include <vector>

#include "ops/document_attention.h"
#include "text/token.h"

namespace minke {

// n tokens. A token sees earlier ones of its own document; positions count from its document's start.
struct TrainBatch {
  std::vector<Token> tokens;
  std::vector<Document> documents;  // all rows, in order
  std::vector<Document> sequences;  // all rows, in order: what the balance loss takes one by one
  std::vector<int32_t> targets;     // [n] the token to be predicted at each row; -1: nothing
  // For the layer that predicts one token more: what it reads beside the hidden state of each row, -1 where
  // the document ends; and what it is to predict there, -1: nothing.
  std::vector<int32_t> next, second;

  int rows() const { return static_cast<int>(tokens.size()); }
  int64_t counted() const;         // rows with a target
  int64_t counted_second() const;  // rows with a second target
};

// Adds a sequence of `length` rows; tokens and loss [length + ahead], where loss[i] says whether token i is
// to be learned, and documents begin at starts (ascending, the first 0). What lies behind the sequence is
// there as targets only; ahead 0: the last row predicts nothing.
void add_sequence(TrainBatch& batch, int length, std::span<const Token> tokens,
                  std::span<const int32_t> starts, std::span<const uint8_t> loss);

}  // namespace minke
