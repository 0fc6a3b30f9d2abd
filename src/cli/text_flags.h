#pragma once
// Flags of the commands that read a text with a model: perplexity, imatrix, kl.

#include <string>
#include <vector>

#include "cli/model_flags.h"
#include "text/tokenizer.h"

namespace minke {

struct TextFlags {
  std::string file, activations = "int8";
  int window = 2048;
  int64_t most = 0;

  void add_file(CLI::App& command);  // FILE
  void add(CLI::App& command);       // --ctx, --tokens, --activations

  std::vector<Token> tokens(const Tokenizer& tokenizer) const;  // of the file; throws Error naming it
  InstanceOptions options(const ModelFlags& model) const;  // room for a window, and for `logit_rows` of 64
};

// What every window begins with: the tokenizer's bos where it says so, else none (-1).
Token window_start(const Tokenizer& tokenizer);

}  // namespace minke
