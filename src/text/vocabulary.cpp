#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "text/hash.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kByteCharacters = 0x144;

// [code point] its byte, or -1.
constexpr std::array<int16_t, kByteCharacters> make_byte_of_character() {
  std::array<int16_t, kByteCharacters> table{};
  for (auto& byte : table) byte = -1;
  size_t next = 0x100;
  for (int16_t b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[itself ? static_cast<size_t>(b) : next++] = b;
  }
  return table;
}
constexpr auto kByteOfCharacter = make_byte_of_character();

bool is_ordinary(TokenKind kind) { return kind == TokenKind::ordinary; }

}  // namespace

bool append_byte_level(std::string& out, std::string_view text) {
  const size_t before = out.size();
  for (size_t i = 0; i < text.size(); ++i) {
    // One byte, or two beginning with C2 to C5: nothing else is below U+0144.
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t c = lead;
    if (lead >= 0x80) {
      const bool pair = lead >= 0xC2 && lead <= 0xC5 && i + 1 < text.size() && (text[i + 1] & 0xC0) == 0x80;
      c = pair ? (lead & 0x1Fu) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3Fu) : kByteCharacters;
    }
    if (c >= kByteCharacters || kByteOfCharacter[c] < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(kByteOfCharacter[c]);
  }
  return true;
}

Vocabulary::Vocabulary(size_t capacity) : slots_(std::bit_ceil(capacity + capacity / 2 + 16)) {
  ends_.reserve(capacity + 1);
  kinds_.reserve(capacity);
  bytes_.reserve(capacity * 7);
}

// The slot of the token, or the empty one where it would go.
const Vocabulary::Slot& Vocabulary::probe(std::string_view bytes, bool ordinary, uint32_t hash) const {
  for (size_t i = hash;; ++i) {
    const Slot& slot = slots_[i & (slots_.size() - 1)];
    if (slot.token < 0) return slot;
    if (slot.hash == hash && is_ordinary(kind(slot.token)) == ordinary && this->bytes(slot.token) == bytes)
      return slot;
  }
}

std::optional<Token> Vocabulary::find(std::string_view bytes, bool ordinary) const {
  const Slot& slot = probe(bytes, ordinary, static_cast<uint32_t>(hash_bytes(bytes)));
  if (slot.token < 0) return std::nullopt;
  return slot.token;
}

std::optional<Token> Vocabulary::find_written(std::string_view text) const {
  std::string bytes;
  if (append_byte_level(bytes, text))
    if (const auto ordinary = find_ordinary(bytes)) return ordinary;
  return find_other(text);
}

std::optional<Token> Vocabulary::add(std::string_view text, TokenKind kind) {
  const size_t begin = bytes_.size();
  if (kind != TokenKind::ordinary || !append_byte_level(bytes_, text)) {
    if (kind == TokenKind::ordinary) kind = TokenKind::literal;
    bytes_ += text;
  }
  const std::string_view bytes = std::string_view(bytes_).substr(begin);
  const auto hash = static_cast<uint32_t>(hash_bytes(bytes));
  Slot& slot = const_cast<Slot&>(probe(bytes, is_ordinary(kind), hash));
  if (slot.token >= 0) {
    bytes_.resize(begin);
    return slot.token;
  }
  slot = {hash, size()};
  kinds_.push_back(kind);
  ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  if (kinds_.size() * 4 > slots_.size() * 3) grow();
  return std::nullopt;
}

void Vocabulary::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& moved : old) {
    if (moved.token < 0) continue;
    size_t i = moved.hash;
    while (slots_[i & (slots_.size() - 1)].token >= 0) ++i;
    slots_[i & (slots_.size() - 1)] = moved;
  }
}

}  // namespace minke
