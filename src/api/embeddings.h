#pragma once
// OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings

#include <span>
#include <string>

#include "api/completion.h"
#include "api/fields.h"

namespace minke {

struct EmbeddingExchange {
  EmbeddingRequest request;
  std::string model;    // as asked for; empty: any
  bool base64 = false;  // of little-endian floats, instead of numbers
};

// POST /v1/embeddings
std::span<const Field> embeddings_fields();
EmbeddingExchange read_embeddings(const Json& body, const ModelCard& card);
Json embeddings_json(const EmbeddingExchange& exchange, const Embeddings& made, const ModelCard& card);

}  // namespace minke
