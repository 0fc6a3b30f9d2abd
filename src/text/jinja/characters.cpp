#include "text/jinja/characters.h"

#include <algorithm>

#include <utf8proc.h>

#include "base/error.h"

namespace minke::jinja {
namespace {

struct Expansion {
  char32_t character;
  const char* upper;
};

// The 102 characters whose upper case is more than one character (Unicode SpecialCasing.txt, unconditional),
// ascending.
constexpr Expansion kExpansions[] = {
    {0xdf, "SS"},
    {0x149, "\u02bcN"},
    {0x1f0, "J\u030c"},
    {0x390, "\u0399\u0308\u0301"},
    {0x3b0, "\u03a5\u0308\u0301"},
    {0x587, "\u0535\u0552"},
    {0x1e96, "H\u0331"},
    {0x1e97, "T\u0308"},
    {0x1e98, "W\u030a"},
    {0x1e99, "Y\u030a"},
    {0x1e9a, "A\u02be"},
    {0x1f50, "\u03a5\u0313"},
    {0x1f52, "\u03a5\u0313\u0300"},
    {0x1f54, "\u03a5\u0313\u0301"},
    {0x1f56, "\u03a5\u0313\u0342"},
    {0x1f80, "\u1f08\u0399"},
    {0x1f81, "\u1f09\u0399"},
    {0x1f82, "\u1f0a\u0399"},
    {0x1f83, "\u1f0b\u0399"},
    {0x1f84, "\u1f0c\u0399"},
    {0x1f85, "\u1f0d\u0399"},
    {0x1f86, "\u1f0e\u0399"},
    {0x1f87, "\u1f0f\u0399"},
    {0x1f88, "\u1f08\u0399"},
    {0x1f89, "\u1f09\u0399"},
    {0x1f8a, "\u1f0a\u0399"},
    {0x1f8b, "\u1f0b\u0399"},
    {0x1f8c, "\u1f0c\u0399"},
    {0x1f8d, "\u1f0d\u0399"},
    {0x1f8e, "\u1f0e\u0399"},
    {0x1f8f, "\u1f0f\u0399"},
    {0x1f90, "\u1f28\u0399"},
    {0x1f91, "\u1f29\u0399"},
    {0x1f92, "\u1f2a\u0399"},
    {0x1f93, "\u1f2b\u0399"},
    {0x1f94, "\u1f2c\u0399"},
    {0x1f95, "\u1f2d\u0399"},
    {0x1f96, "\u1f2e\u0399"},
    {0x1f97, "\u1f2f\u0399"},
    {0x1f98, "\u1f28\u0399"},
    {0x1f99, "\u1f29\u0399"},
    {0x1f9a, "\u1f2a\u0399"},
    {0x1f9b, "\u1f2b\u0399"},
    {0x1f9c, "\u1f2c\u0399"},
    {0x1f9d, "\u1f2d\u0399"},
    {0x1f9e, "\u1f2e\u0399"},
    {0x1f9f, "\u1f2f\u0399"},
    {0x1fa0, "\u1f68\u0399"},
    {0x1fa1, "\u1f69\u0399"},
    {0x1fa2, "\u1f6a\u0399"},
    {0x1fa3, "\u1f6b\u0399"},
    {0x1fa4, "\u1f6c\u0399"},
    {0x1fa5, "\u1f6d\u0399"},
    {0x1fa6, "\u1f6e\u0399"},
    {0x1fa7, "\u1f6f\u0399"},
    {0x1fa8, "\u1f68\u0399"},
    {0x1fa9, "\u1f69\u0399"},
    {0x1faa, "\u1f6a\u0399"},
    {0x1fab, "\u1f6b\u0399"},
    {0x1fac, "\u1f6c\u0399"},
    {0x1fad, "\u1f6d\u0399"},
    {0x1fae, "\u1f6e\u0399"},
    {0x1faf, "\u1f6f\u0399"},
    {0x1fb2, "\u1fba\u0399"},
    {0x1fb3, "\u0391\u0399"},
    {0x1fb4, "\u0386\u0399"},
    {0x1fb6, "\u0391\u0342"},
    {0x1fb7, "\u0391\u0342\u0399"},
    {0x1fbc, "\u0391\u0399"},
    {0x1fc2, "\u1fca\u0399"},
    {0x1fc3, "\u0397\u0399"},
    {0x1fc4, "\u0389\u0399"},
    {0x1fc6, "\u0397\u0342"},
    {0x1fc7, "\u0397\u0342\u0399"},
    {0x1fcc, "\u0397\u0399"},
    {0x1fd2, "\u0399\u0308\u0300"},
    {0x1fd3, "\u0399\u0308\u0301"},
    {0x1fd6, "\u0399\u0342"},
    {0x1fd7, "\u0399\u0308\u0342"},
    {0x1fe2, "\u03a5\u0308\u0300"},
    {0x1fe3, "\u03a5\u0308\u0301"},
    {0x1fe4, "\u03a1\u0313"},
    {0x1fe6, "\u03a5\u0342"},
    {0x1fe7, "\u03a5\u0308\u0342"},
    {0x1ff2, "\u1ffa\u0399"},
    {0x1ff3, "\u03a9\u0399"},
    {0x1ff4, "\u038f\u0399"},
    {0x1ff6, "\u03a9\u0342"},
    {0x1ff7, "\u03a9\u0342\u0399"},
    {0x1ffc, "\u03a9\u0399"},
    {0xfb00, "FF"},
    {0xfb01, "FI"},
    {0xfb02, "FL"},
    {0xfb03, "FFI"},
    {0xfb04, "FFL"},
    {0xfb05, "ST"},
    {0xfb06, "ST"},
    {0xfb13, "\u0544\u0546"},
    {0xfb14, "\u0544\u0535"},
    {0xfb15, "\u0544\u053b"},
    {0xfb16, "\u054e\u0546"},
    {0xfb17, "\u0544\u053d"},
};

const char* expansion(char32_t c) {
  const auto* found =
      std::lower_bound(std::begin(kExpansions), std::end(kExpansions), c,
                       [](const Expansion& e, char32_t value) { return e.character < value; });
  return found != std::end(kExpansions) && found->character == c ? found->upper : nullptr;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
char32_t simple_lower(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
char32_t simple_upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

bool is_letter(utf8proc_category_t k) { return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO; }
bool is_cased(char32_t c) {
  return simple_lower(c) != c || simple_upper(c) != c || category(c) == UTF8PROC_CATEGORY_LL;
}
bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

// Numeric_Type=Digit beyond the decimals.
bool is_other_digit(char32_t c) {
  constexpr char32_t kRanges[][2] = {
      {0xb2, 0xb3},     {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},   {0x2070, 0x2070},
      {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247c},   {0x2488, 0x2490},
      {0x24ea, 0x24ea}, {0x24f5, 0x24fd},   {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},
      {0x278a, 0x2792}, {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
  };
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const char32_t(&range)[2]) { return c >= range[0] && c <= range[1]; });
}

bool is_numeric(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

void append_upper(std::string& out, char32_t c) {
  if (const char* several = expansion(c))
    out += several;
  else
    append_character(out, simple_upper(c));
}

void append_title(std::string& out, char32_t c) {
  const auto simple = static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  const char* several = expansion(c);
  if (!several || (simple != c && c != U'ß')) return append_character(out, simple);
  const std::string_view text = several;
  size_t i = 0;
  append_character(out, next_character(text, i));
  out += lower(text.substr(i));
}

// The character that ends at `end`; i is its start. A sigma at the end of a word has a form of its own.
void append_lower(std::string& out, char32_t c, std::string_view text, size_t begin, size_t end) {
  if (c == U'İ') {
    out += "i\u0307";
  } else if (c == U'Σ') {
    size_t before = begin, after = end;
    const bool letter_before = begin > 0 && is_cased(previous_character(text, before));
    const bool letter_after = end < text.size() && is_cased(next_character(text, after));
    append_character(out, letter_before && !letter_after ? U'ς' : U'σ');
  } else {
    append_character(out, simple_lower(c));
  }
}

template <typename F>
bool all(std::string_view text, F f) {
  for (size_t i = 0; i < text.size();)
    if (!f(next_character(text, i))) return false;
  return !text.empty();
}

// Upper: every cased character is upper case and there is one; likewise lower.
bool all_cased(std::string_view text, bool upper_case) {
  bool found = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_character(text, i);
    if (!is_cased(c)) continue;
    if (upper_case ? simple_lower(c) == c : simple_upper(c) == c && category(c) != UTF8PROC_CATEGORY_LL)
      return false;
    found = true;
  }
  return found;
}

bool is_titled(std::string_view text) {
  bool inside_word = false, found = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_character(text, i);
    if (!is_cased(c)) {
      inside_word = false;
      continue;
    }
    const bool is_upper = simple_lower(c) != c;
    if (is_upper == inside_word) return false;
    inside_word = found = true;
  }
  return found;
}

bool is_identifier(std::string_view text) {
  size_t i = 0;
  if (text.empty()) return false;
  const char32_t first = next_character(text, i);
  if (first != '_' && !is_letter(category(first)) && category(first) != UTF8PROC_CATEGORY_NL) return false;
  return all(text, [](char32_t c) {
    const utf8proc_category_t k = category(c);
    return c == '_' || is_letter(k) || k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC ||
           k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC;
  });
}

}  // namespace

char32_t next_character(std::string_view text, size_t& i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char first = byte(i);
  if (first < 0x80) return ++i, first;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  MINKE_CHECK(i + size <= text.size());
  char32_t c = first & (0xffu >> (size + 1));
  for (size_t k = 1; k < size; ++k) c = c << 6 | (byte(i + k) & 0x3f);
  i += size;
  return c;
}

char32_t previous_character(std::string_view text, size_t& i) {
  do --i;
  while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80);
  size_t start = i;
  return next_character(text, start);
}

void append_character(std::string& out, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

bool is_ascii(std::string_view text) {
  unsigned char any = 0;
  for (const char c : text) any |= static_cast<unsigned char>(c);
  return any < 0x80;
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

size_t offset_of(std::string_view text, size_t character) {
  if (character >= text.size()) return text.size();
  size_t i = 0;
  for (size_t passed = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (passed++ == character) return i;
  }
  return i;
}

bool is_valid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t c;
    const auto size = utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &c);
    if (size <= 0) return false;
    i += static_cast<size_t>(size);
  }
  return true;
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return is_letter(category(c)) || is_numeric(c);
}

bool is_printable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return c == ' ';
    default: return true;
  }
}

std::string upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) append_upper(out, next_character(text, i));
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    append_lower(out, c, text, begin, i);
  }
  return out;
}

std::string casefold(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(next_character(text, i)), folded,
                                               8, UTF8PROC_CASEFOLD, &boundary);
    for (int k = 0; k < count; ++k) append_character(out, static_cast<char32_t>(folded[k]));
  }
  return out;
}

std::string swapcase(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    if (simple_lower(c) != c)
      append_lower(out, c, text, begin, i);
    else
      append_upper(out, c);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  size_t i = 0;
  if (!text.empty()) append_title(out, next_character(text, i));
  while (i < text.size()) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    append_lower(out, c, text, begin, i);
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool inside_word = false;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_character(text, i);
    if (inside_word)
      append_lower(out, c, text, begin, i);
    else
      append_title(out, c);
    inside_word = is_cased(c);
  }
  return out;
}

bool is_class(std::string_view text, std::string_view name) {
  const auto alpha = [](char32_t c) { return is_letter(category(c)); };
  const auto digit = [](char32_t c) { return is_decimal(c) || is_other_digit(c); };
  if (name == "alpha") return all(text, alpha);
  if (name == "alnum") return all(text, [&](char32_t c) { return alpha(c) || digit(c) || is_numeric(c); });
  if (name == "ascii") return is_ascii(text);
  if (name == "decimal") return all(text, is_decimal);
  if (name == "digit") return all(text, digit);
  if (name == "numeric") return all(text, is_numeric);
  if (name == "space") return all(text, is_space);
  if (name == "printable") return text.empty() || all(text, is_printable);
  if (name == "lower") return all_cased(text, false);
  if (name == "upper") return all_cased(text, true);
  if (name == "title") return is_titled(text);
  MINKE_CHECK(name == "identifier");
  return is_identifier(text);
}

}  // namespace minke::jinja
