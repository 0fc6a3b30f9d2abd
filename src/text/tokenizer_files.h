#pragma once
// A tokenizer on its way from one kind of file to the other: from tokenizer.json to the tokenizer.* keys of a
// GGUF file, and back (docs/converting.md).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/gguf_writer.h"
#include "text/token.h"

namespace minke {

struct TokenizerDraft;

class TokenizerFiles {
 public:
  // As Tokenizer::from_file and from_gguf; the Gguf must outlive the result.
  static TokenizerFiles read(const fs::path& tokenizer_json);
  static TokenizerFiles read(const Gguf& gguf);
  // Of a draft made here; `owner` keeps alive what its views point to.
  static TokenizerFiles of(std::shared_ptr<const void> owner, TokenizerDraft draft);
  TokenizerFiles(TokenizerFiles&&) noexcept;
  ~TokenizerFiles();

  // For a model of `vocab` rows, of which those without a token become padding; bos and eos where the
  // tokenizer itself names none. Throws Error: more tokens than rows, or rules that a GGUF file has no name
  // for.
  void add_to(GgufHeader& header, int vocab, std::optional<Token> bos, std::optional<Token> eos) const;
  // What gets lost on the way to GGUF, for people to read.
  std::vector<std::string> losses() const;

  // Of one that was not read from a tokenizer.json. Throw Error where a text is not UTF-8.
  Json tokenizer_json() const;
  Json tokenizer_config(int context) const;  // with the chat templates

 private:
  TokenizerFiles();
  std::shared_ptr<const void> owner_;  // of what the draft's views point into
  std::unique_ptr<const TokenizerDraft> draft_;
};

}  // namespace minke
