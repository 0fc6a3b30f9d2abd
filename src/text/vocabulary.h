#pragma once
// The vocabulary of a byte-level BPE: which bytes each id stands for, and back.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/token.h"

namespace minke {

// Files write a byte of a token as a printable character, GPT-2's way: 0x21 to 0x7E, 0xA1 to 0xAC and 0xAE to
// 0xFF as themselves, the 68 others in order as U+0100 to U+0143. Appends the bytes of `text`; false where it
// has other characters.
bool append_byte_level(std::string& out, std::string_view text);

enum class TokenKind : uint8_t {
  ordinary,  // written byte by byte, reached by merges
  literal,   // in the vocabulary, but not of byte-level characters: no text gives it
  added,     // matched in the text as it is written
  special,   // the same; controls rather than speaks
  unused,    // padding
};

// Ids from 0 in the order of adding.
class Vocabulary {
 public:
  explicit Vocabulary(size_t capacity);

  // text as a file writes it; whether an ordinary token is a literal is found out here. Returns the id of a
  // token that was there before with this text, and adds nothing then; else nothing.
  std::optional<Token> add(std::string_view text, TokenKind kind);

  int size() const { return static_cast<int>(kinds_.size()); }
  TokenKind kind(Token token) const { return kinds_[static_cast<size_t>(token)]; }
  bool is_added(Token token) const {
    return kind(token) == TokenKind::added || kind(token) == TokenKind::special;
  }
  std::string_view bytes(Token token) const {
    const auto i = static_cast<size_t>(token);
    return std::string_view(bytes_).substr(ends_[i], ends_[i + 1] - ends_[i]);
  }

  // The ordinary token that stands for these bytes, or any other token whose text this is.
  std::optional<Token> find_ordinary(std::string_view bytes) const { return find(bytes, true); }
  std::optional<Token> find_other(std::string_view text) const { return find(text, false); }
  // The token a file means by this text.
  std::optional<Token> find_written(std::string_view text) const;

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t token = -1;
  };

  std::optional<Token> find(std::string_view bytes, bool ordinary) const;
  const Slot& probe(std::string_view bytes, bool ordinary, uint32_t hash) const;
  void insert(Token token);
  void grow();

  std::string bytes_;              // of all tokens, one after another
  std::vector<uint32_t> ends_{0};  // [size + 1]
  std::vector<TokenKind> kinds_;   // [size]
  std::vector<Slot> slots_;        // a power of two, open addressing
};

}  // namespace minke
