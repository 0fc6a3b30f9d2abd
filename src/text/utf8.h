#pragma once
// UTF-8: checking, decoding, and mending text that was cut in the middle of a character (Unicode 3.9, table
// 3-7).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace minke {

// What stands at the start of a text.
struct Utf8Unit {
  enum class Kind : uint8_t {
    character,
    broken,  // the longest part that could begin a character, or one byte that cannot
    cut,     // the beginning of a character, interrupted by the text's end
  };
  Kind kind;
  uint8_t length;       // bytes, at least 1
  char32_t code_point;  // of a character
};
Utf8Unit first_utf8(std::string_view text);  // text must not be empty

// The offset of the first byte that is not part of a character, or npos.
size_t find_invalid_utf8(std::string_view text);
// Each broken or cut part becomes one U+FFFD.
std::string mend_utf8(std::string_view text);
// For messages: the text, or its beginning and "..."; mended.
std::string excerpt(std::string_view text, size_t max_bytes = 100);
void append_utf8(std::string& out, char32_t code_point);

// Decodes the character at p, which must lie in valid UTF-8, and steps over it.
inline char32_t decode_utf8(const char*& p) {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return p += 1, lead;
  if (lead < 0xE0) {
    const char32_t c = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    return p += 2, c;
  }
  if (lead < 0xF0) {
    const char32_t c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    return p += 3, c;
  }
  const char32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  return p += 4, c;
}

// Steps back over the character that ends before p, in valid UTF-8.
inline void step_back_utf8(const char*& p) {
  do --p;
  while ((static_cast<unsigned char>(*p) & 0xC0) == 0x80);
}

}  // namespace minke
