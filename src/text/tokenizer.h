#pragma once
// Byte-level BPE from a tokenizer.json or from GGUF metadata (MODEL.md 5; docs/formats.md).

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "text/token.h"

namespace minke {

class Gguf;

// Which added tokens are looked for in plain text.
enum class Added { all, special_as_text, none };

// What a code model's prompt for filling a gap is made of: prefix BEFORE suffix AFTER middle.
struct FimTokens {
  Token prefix, suffix, middle;
  bool operator==(const FimTokens&) const = default;
};

// Immutable after construction; any thread may use it.
class Tokenizer {
 public:
  // A tokenizer.json, or its gzip, with what lies beside it, if anything: tokenizer_config.json, and chat
  // templates in files of their own (chat_template.jinja, chat_template.json,
  // additional_chat_templates/NAME.jinja), which go before the config's. Throws Error naming file and field.
  static Tokenizer from_file(const fs::path& tokenizer_json);
  // A GGUF file, a tokenizer.json or its gzip (by the name), or a folder with one of those two in it. Throws
  // as the others do, and where the folder holds none.
  static Tokenizer open(const fs::path& path);
  // The texts of the two files; `name` is what errors call them.
  static Tokenizer from_json(std::string_view tokenizer_json, std::string_view name,
                             std::string_view tokenizer_config = {});
  // The tokenizer.* keys. Throws Error naming file and key.
  static Tokenizer from_gguf(const Gguf& gguf);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // No bos or eos is added. Invalid UTF-8 throws Error with the byte offset, and so do 2 GiB of text or more.
  // A byte the vocabulary has no token for becomes its unknown token, or is left out where there is none or
  // it is an added one.
  std::vector<Token> encode(std::string_view text, Added added = Added::all) const;
  // Added tokens are matched in template pieces only; the text between two matches is one text whatever its
  // sources.
  std::vector<Token> encode(const Pieces& pieces) const;

  // Joined bytes of the tokens, each part that is no UTF-8 replaced by one U+FFFD. An id out of range throws.
  std::string decode(std::span<const Token> tokens, bool skip_special = false) const;
  // The bytes a token stands for: possibly a part of a character.
  std::string_view bytes(Token token) const;

  int size() const;                                                            // ids are 0 .. size - 1
  std::optional<Token> find(std::string_view added_or_vocabulary_text) const;  // by the text it stands for
  bool is_added(Token token) const;
  bool has_added(std::string_view text) const;  // an added token stands for this text
  bool is_special(Token token) const;
  bool is_unused(Token token) const;  // padding ids that no text gives: to be masked when sampling
  std::optional<Token> bos() const;
  std::optional<Token> eos() const;
  bool add_bos() const;
  // Where an answer ends: eos, what else the file says ends a turn or message, and control tokens known to
  // (<|im_end|>, <|eot_id|>, ...). Sorted.
  const std::vector<Token>& end_tokens() const;
  std::optional<FimTokens> fim() const;
  const std::string& pre_name() const;  // "qwen2", "deepseek-v3", ... ; "custom" for rules of its own
  // Jinja source that came with the tokenizer, or empty. Some bring a second one, "tool_use".
  const std::string& chat_template(std::string_view name = "default") const;

  struct Impl;

 private:
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Turns a stream of tokens into text that never ends in half a character. All that push and finish return,
// joined, is what decode gives for all tokens.
class Detokenizer {
 public:
  // Special tokens are left out with skip_special, but for those in `kept`.
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = false, std::vector<Token> kept = {});
  std::string push(Token token);  // the text that is complete now; may be empty
  std::string finish();           // what is left, incomplete bytes as U+FFFD

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<Token> kept_;
  std::string pending_;
};

}  // namespace minke
