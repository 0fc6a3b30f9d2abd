#include "text/utf8.h"

#include <cstring>

namespace minke {

Utf8Unit first_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Utf8Unit::Kind::character, 1, lead};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Unit::Kind::broken, 1, 0};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t c = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8Unit::Kind::cut, static_cast<uint8_t>(i), 0};
    if (byte(i) < low || byte(i) > high) return {Utf8Unit::Kind::broken, static_cast<uint8_t>(i), 0};
    c = c << 6 | (byte(i) & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {Utf8Unit::Kind::character, static_cast<uint8_t>(length), c};
}

size_t find_invalid_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const Utf8Unit unit = first_utf8(text.substr(at));
    if (unit.kind != Utf8Unit::Kind::character) return at;
    at += unit.length;
  }
  return std::string_view::npos;
}

std::string mend_utf8(std::string_view text) {
  std::string out;
  while (true) {
    const size_t good = find_invalid_utf8(text);
    out += text.substr(0, good);
    if (good == std::string_view::npos) return out;
    text.remove_prefix(good);
    text.remove_prefix(first_utf8(text).length);
    out += "\xEF\xBF\xBD";
  }
}

std::string excerpt(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return mend_utf8(text);
  while (max_bytes > 0 && (text[max_bytes] & 0xC0) == 0x80) --max_bytes;
  return mend_utf8(text.substr(0, max_bytes)) + "...";
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xE0 | c >> 12);
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
    }
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

}  // namespace minke
