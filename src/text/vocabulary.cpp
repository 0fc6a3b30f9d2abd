#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kMaxTokens = size_t{1} << 24, kMaxTokenBytes = size_t{1} << 20, kMaxBytes = size_t{1} << 31;
constexpr size_t kByteCharacters = 0x144;

// [byte] the code point it is written as.
constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[b] = itself ? b : next++;
  }
  return table;
}
constexpr auto kCharacterOfByte = make_characters();

// [code point] its byte, or -1.
constexpr std::array<int16_t, kByteCharacters> make_bytes() {
  std::array<int16_t, kByteCharacters> table{};
  for (auto& byte : table) byte = -1;
  for (size_t b = 0; b < 256; ++b) table[kCharacterOfByte[b]] = static_cast<int16_t>(b);
  return table;
}
constexpr auto kByteOfCharacter = make_bytes();

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

char32_t byte_level_character(unsigned char byte) { return kCharacterOfByte[byte]; }

std::string byte_level_text(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(text, byte_level_character(static_cast<unsigned char>(c)));
  return text;
}

Vocabulary::Vocabulary(std::span<const std::string_view> texts, std::span<const TokenKind> kinds)
    : kinds_(kinds.begin(), kinds.end()), slots_(std::bit_ceil(texts.size() + texts.size() / 2 + 16)) {
  if (texts.size() > kMaxTokens)
    throw Error(fmt::format("{} tokens are too many, {} are allowed", texts.size(), kMaxTokens));
  ends_.reserve(texts.size() + 1);
  bytes_.reserve(texts.size() * 7);
  std::vector<uint32_t> hashes;
  hashes.reserve(texts.size());
  for (size_t id = 0; id < texts.size(); ++id) {
    const std::string_view text = texts[id];
    const size_t begin = bytes_.size();
    if (text.size() > kMaxTokenBytes || begin > kMaxBytes)
      throw Error(fmt::format("token {} ('{}') is too long, or all are together", id, excerpt(text)));
    if (!is_ordinary(kinds_[id]) || !append_byte_level(bytes_, text)) {
      if (is_ordinary(kinds_[id])) kinds_[id] = TokenKind::literal;
      bytes_ += text;
    }
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
    hashes.push_back(hash_of(std::string_view(bytes_).substr(begin)));
  }
  constexpr size_t kAhead = 16;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (id + kAhead < hashes.size()) __builtin_prefetch(&slots_[hashes[id + kAhead] & mask()], 1);
    const auto token = static_cast<Token>(id);
    const std::string_view key = bytes(token);
    const bool ordinary = is_ordinary(kinds_[id]);
    Slot& slot = const_cast<Slot&>(probe(key, ordinary, hashes[id]));
    if (slot.token >= 0)
      throw Error(fmt::format("token {} is '{}', and so is token {}", id, excerpt(texts[id]), slot.token));
    slot = {hashes[id], token, ends_[id], static_cast<uint32_t>(key.size()) & 0x7FFFFFFF, ordinary};
  }
}

// The slot of the token, or the empty one where it would go.
const Vocabulary::Slot& Vocabulary::probe(std::string_view bytes, bool ordinary, uint32_t hash) const {
  for (size_t i = hash;; ++i) {
    const Slot& slot = slots_[i & mask()];
    if (slot.token < 0) return slot;
    if (slot.hash == hash && slot.ordinary == ordinary && slot.length == bytes.size() &&
        std::memcmp(bytes_.data() + slot.begin, bytes.data(), bytes.size()) == 0)
      return slot;
  }
}

std::optional<Token> Vocabulary::find(std::string_view bytes, bool ordinary, uint32_t hash) const {
  const Slot& slot = probe(bytes, ordinary, hash);
  if (slot.token < 0) return std::nullopt;
  return slot.token;
}

void Vocabulary::announce(std::string_view text, Written& written) const {
  written.bytes.clear();
  written.ordinary = append_byte_level(written.bytes, text);
  if (!written.ordinary) written.bytes = text;
  written.hash = hash_of(written.bytes);
  __builtin_prefetch(&slots_[written.hash & mask()]);
}

std::optional<Token> Vocabulary::find(std::string_view text, const Written& written) const {
  const auto found = find(written.bytes, written.ordinary, written.hash);
  return found || !written.ordinary ? found : find_other(text);
}

}  // namespace minke
