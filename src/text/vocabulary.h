#pragma once
// The vocabulary of a byte-level BPE: which bytes each id stands for, and back.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/hash.h"
#include "text/token.h"

namespace minke {

// Files write a byte of a token as a printable character, GPT-2's way: 0x21 to 0x7E, 0xA1 to 0xAC and 0xAE to
// 0xFF as themselves, the 68 others in order as U+0100 to U+0143. Appends the bytes of `text`; false where it
// has other characters.
bool append_byte_level(std::string& out, std::string_view text);
// The way back: of one byte, and of several as UTF-8.
char32_t byte_level_character(unsigned char byte);
std::string byte_level_text(std::string_view bytes);

enum class TokenKind : uint8_t {
  ordinary,  // written byte by byte, reached by merges
  literal,   // in the vocabulary, but not of byte-level characters: no text gives it
  added,     // matched in the text as it is written
  special,   // the same; controls rather than speaks
  unused,    // padding
};

// Immutable; any thread may use it.
class Vocabulary {
 public:
  // [id] its text as a file writes it, and its kind; an ordinary token that is none becomes a literal. Throws
  // Error naming a token whose text another has too, or that is too long.
  Vocabulary(std::span<const std::string_view> texts, std::span<const TokenKind> kinds);

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
  std::optional<Token> find_ordinary(std::string_view bytes) const {
    return find(bytes, true, hash_of(bytes));
  }
  std::optional<Token> find_other(std::string_view text) const { return find(text, false, hash_of(text)); }

  // A text as files write it, on its way to be found.
  struct Written {
    std::string bytes;
    bool ordinary = true;
    uint32_t hash = 0;
  };
  // The token a file means by a text, found in two steps: between them the memory that the second needs is on
  // its way, so that searches one after another overlap.
  void announce(std::string_view text, Written& written) const;
  std::optional<Token> find(std::string_view text, const Written& written) const;

 private:
  // With what tells two keys apart beside it: looking elsewhere for it would cost more than all the rest.
  struct Slot {
    uint32_t hash = 0;
    Token token = -1;
    uint32_t begin = 0;  // in bytes_
    uint32_t length : 31 = 0;
    uint32_t ordinary : 1 = 0;
  };

  static uint32_t hash_of(std::string_view bytes) { return static_cast<uint32_t>(hash_bytes(bytes)); }
  size_t mask() const { return slots_.size() - 1; }
  std::optional<Token> find(std::string_view bytes, bool ordinary, uint32_t hash) const;
  const Slot& probe(std::string_view bytes, bool ordinary, uint32_t hash) const;

  std::string bytes_;              // of all tokens, one after another
  std::vector<uint32_t> ends_{0};  // [size + 1]
  std::vector<TokenKind> kinds_;   // [size]
  std::vector<Slot> slots_;        // a power of two, open addressing
};

}  // namespace minke
