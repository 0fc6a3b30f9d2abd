#pragma once
// What is damaged: models, tokenizers and files small enough to be read thousands of times, and what is done
// with those that are taken.

#include <string>

#include "base/json.h"
#include "model/load.h"

namespace minke {

inline const fs::path kGoldenFolder = fs::path(MINKE_TESTS_DIR) / "golden";

// Copies one folder of golden/models without its golden.safetensors.
void copy_golden_model(const std::string& name, const fs::path& to);

// golden/models/qwen2 as a GGUF with the tokenizer.* keys of small_tokenizer.
void write_small_gguf(const fs::path& path);

// A published tokenizer.json with its first `words` words and the merges that make them.
Json smaller_tokenizer(const std::string& name, size_t words);

// The texts that a tokenizer encodes and decodes; all of them must come back.
void use_tokenizer(const Tokenizer& tokenizer);

// Counts it, plans its memory, and where that is little runs three tokens through it.
void use_model(const Model& model);

}  // namespace minke
