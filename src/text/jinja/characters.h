#pragma once
// Characters of valid UTF-8 as Python's str sees them: code points, white space, case.

#include <cstddef>
#include <string>
#include <string_view>

namespace minke::jinja {

// The character at byte i, which moves behind it. The text must be valid UTF-8 and i inside it at a
// character's start.
char32_t next_character(std::string_view text, size_t& i);
char32_t previous_character(std::string_view text,
                            size_t& i);  // the one that ends at i, which moves to its start
void append_character(std::string& out, char32_t c);

bool is_ascii(std::string_view text);
size_t count_characters(std::string_view text);
size_t offset_of(std::string_view text, size_t character);  // its size where there are not so many characters
bool is_valid_utf8(std::string_view text);

bool is_space(char32_t c);  // str.isspace
bool is_word(char32_t c);   // \w
bool is_printable(char32_t c);

// Python's str.upper and so on, with the special cases of Unicode that give several characters.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string casefold(std::string_view text);
std::string swapcase(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);

// str.isalpha and so on: "alnum", "alpha", "ascii", "decimal", "digit", "identifier", "lower", "numeric",
// "printable", "space", "title", "upper".
bool is_class(std::string_view text, std::string_view name);

}  // namespace minke::jinja
