#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "text/jinja/characters.h"

namespace minke::jinja {
namespace {

[[noreturn]] void fail(int line, std::string message) {
  throw Error(std::move(message), fmt::format("line {}", line));
}

// "\r\n" and "\r" become "\n", and one line break at the end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r')
      out += source[i];
    else if (i + 1 == source.size() || source[i + 1] != '\n')
      out += '\n';
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)), text_(source_) {}

  std::vector<Token> run() {
    while (position_ < text_.size()) data();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  bool at(std::string_view prefix, size_t offset = 0) const {
    return position_ + offset <= text_.size() && text_.substr(position_ + offset).starts_with(prefix);
  }
  char peek(size_t offset = 0) const {
    return position_ + offset < text_.size() ? text_[position_ + offset] : '\0';
  }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  // Moves on; lines are counted here only.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(position_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    position_ = to;
  }

  size_t skip_space(size_t i) const {
    while (i < text_.size()) {
      size_t next = i;
      if (!is_space(next_character(text_, next))) break;
      i = next;
    }
    return i;
  }

  // Text up to the next tag, then the tag.
  void data() {
    const auto starts_tag = [&](size_t i) {
      return i + 1 < text_.size() && (text_[i + 1] == '%' || text_[i + 1] == '{' || text_[i + 1] == '#');
    };
    size_t begin = text_.find('{', position_);
    while (begin != std::string_view::npos && !starts_tag(begin)) begin = text_.find('{', begin + 1);
    if (begin == std::string_view::npos) {
      add(TokenKind::data, std::string(text_.substr(position_)));
      return advance(text_.size());
    }
    const char kind = text_[begin + 1];
    const char sign = begin + 2 < text_.size() && (text_[begin + 2] == '-' || text_[begin + 2] == '+')
                          ? text_[begin + 2]
                          : '\0';
    add_data(text_.substr(position_, begin - position_), sign, kind != '{');
    advance(begin + 2 + (sign != '\0'));
    if (kind == '#') return comment();
    if (kind == '{') return tag(TokenKind::variable_begin, TokenKind::variable_end);
    if (!raw()) tag(TokenKind::block_begin, TokenKind::block_end);
  }

  // White space before a tag goes with '-', and where only it stands between the line's start and a block or
  // comment.
  void add_data(std::string_view data, char sign, bool strip_line) {
    if (sign == '-') {
      while (!data.empty()) {
        size_t previous = data.size();
        if (!is_space(previous_character(data, previous))) break;
        data = data.substr(0, previous);
      }
    } else if (sign != '+' && strip_line) {
      const size_t line = data.rfind('\n') + 1;
      if ((line > 0 || line_starts_) && only_space(data.substr(line))) data = data.substr(0, line);
    }
    if (!data.empty()) add(TokenKind::data, std::string(data));
  }
  static bool only_space(std::string_view data) {
    for (size_t i = 0; i < data.size();)
      if (!is_space(next_character(data, i))) return false;
    return true;
  }

  // Behind a tag's end: "-" takes all white space, a plain end of a block or comment one line break.
  void after_end(size_t end, char sign, bool trim_line) {
    if (sign == '-')
      end = skip_space(end);
    else if (sign != '+' && trim_line && end < text_.size() && text_[end] == '\n')
      ++end;
    line_starts_ = text_[end - 1] == '\n';
    advance(end);
  }

  void comment() {
    const int line = line_;
    const size_t end = text_.find("#}", position_);
    if (end == std::string_view::npos) fail(line, "Missing end of comment tag");
    const char sign =
        end > position_ && (text_[end - 1] == '-' || text_[end - 1] == '+') ? text_[end - 1] : '\0';
    after_end(end + 2, sign, true);
  }

  // {% raw %} ... {% endraw %}, if the block at hand is one.
  bool raw() {
    size_t i = skip_space(position_);
    if (!text_.substr(i).starts_with("raw")) return false;
    i = skip_space(i + 3);
    const char begin_sign = text_.substr(i).starts_with("-%}") ? '-' : '\0';
    if (!begin_sign && !text_.substr(i).starts_with("%}")) return false;
    after_end(i + (begin_sign ? 3 : 2), begin_sign, false);
    for (size_t begin = text_.find("{%", position_); begin != std::string_view::npos;
         begin = text_.find("{%", begin + 2)) {
      i = begin + 2;
      const char sign = i < text_.size() && (text_[i] == '-' || text_[i] == '+') ? text_[i] : '\0';
      i = skip_space(i + (sign != '\0'));
      if (!text_.substr(i).starts_with("endraw")) continue;
      i = skip_space(i + 6);
      const char end_sign = i < text_.size() && (text_[i] == '-' || text_[i] == '+') ? text_[i] : '\0';
      i += end_sign != '\0';
      if (!text_.substr(i).starts_with("%}")) continue;
      add_data(text_.substr(position_, begin - position_), sign, true);
      after_end(i + 2, end_sign, true);
      return true;
    }
    fail(line_, "Missing end of raw directive");
  }

  void tag(TokenKind begin, TokenKind end) {
    add(begin, "");
    brackets_.clear();
    const bool block = end == TokenKind::block_end;
    const std::string_view mark = block ? "%}" : "}}";
    while (position_ < text_.size()) {
      if (brackets_.empty()) {
        const char sign = peek() == '-' || (block && peek() == '+') ? peek() : '\0';
        if (at(mark, sign != '\0')) {
          add(end, "");
          return after_end(position_ + (sign != '\0') + 2, sign, block);
        }
      }
      expression_token();
    }
  }

  void expression_token() {
    const char c = peek();
    size_t next = position_;
    const char32_t character = next_character(text_, next);
    if (is_space(character)) return advance(skip_space(position_));
    if (c >= '0' && c <= '9') return number();
    if (is_word(character)) return name();
    if ((c == '\'' || c == '"') && string()) return;
    if (operator_token()) return;
    fail(line_, fmt::format("unexpected character '{}'", text_.substr(position_, next - position_)));
  }

  void name() {
    size_t end = position_;
    while (end < text_.size()) {
      size_t next = end;
      if (!is_word(next_character(text_, next))) break;
      end = next;
    }
    std::string name(text_.substr(position_, end - position_));
    if (!is_class(name, "identifier")) fail(line_, fmt::format("Invalid character in identifier '{}'", name));
    add(TokenKind::name, std::move(name));
    advance(end);
  }

  // Digits with single underscores between them; where they end.
  size_t digits(size_t i, bool (*is_digit)(char)) const {
    const auto digit_at = [&](size_t k) { return k < text_.size() && is_digit(text_[k]); };
    while (digit_at(i) || (i > 0 && i < text_.size() && text_[i] == '_' && digit_at(i + 1))) ++i;
    return i;
  }

  static bool is_decimal(char c) { return c >= '0' && c <= '9'; }

  void number() {
    const auto digit_at = [&](size_t k) { return k < text_.size() && is_decimal(text_[k]); };
    size_t end = digits(position_, is_decimal);
    bool real = false;
    if (position_ == 0 || text_[position_ - 1] != '.') {
      if (end < text_.size() && text_[end] == '.' && digit_at(end + 1)) {
        real = true;
        end = digits(end + 1, is_decimal);
      }
      if (end < text_.size() && (text_[end] | 0x20) == 'e') {
        const size_t sign = end + 1 < text_.size() && (text_[end + 1] == '-' || text_[end + 1] == '+');
        if (digit_at(end + 1 + sign)) {
          real = true;
          end = digits(end + 1 + sign, is_decimal);
        }
      }
    }
    if (!real) return integer(end);
    Token token{TokenKind::real, line_, std::string(text_.substr(position_, end - position_))};
    token.real = *parse_real(token.text);
    tokens_.push_back(std::move(token));
    advance(end);
  }

  // Decimal up to `end`, or with a prefix 0x, 0o, 0b. A decimal other than 0 does not begin with 0.
  void integer(size_t end) {
    unsigned base = 10;
    size_t begin = position_;
    const char mark = static_cast<char>(peek(1) | 0x20);
    if (peek() == '0' && (mark == 'x' || mark == 'o' || mark == 'b')) {
      constexpr std::array<bool (*)(char), 3> kDigits = {
          [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; },
          [](char c) { return c >= '0' && c <= '7'; }, [](char c) { return c == '0' || c == '1'; }};
      const size_t marked_end = digits(position_ + 2, kDigits[mark == 'x' ? 0 : mark == 'o' ? 1 : 2]);
      if (marked_end > position_ + 2) {
        base = mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
        begin = position_ + 2;
        end = marked_end;
      }
    }
    if (base == 10 && peek() == '0') {
      end = position_;
      while (end < text_.size() &&
             (text_[end] == '0' || (text_[end] == '_' && end + 1 < text_.size() && text_[end + 1] == '0')))
        ++end;
    }
    Token token{TokenKind::integer, line_, std::string(text_.substr(position_, end - position_))};
    for (size_t i = begin; i < end; ++i) {
      if (text_[i] == '_') continue;
      const int digit = is_decimal(text_[i]) ? text_[i] - '0' : (text_[i] | 0x20) - 'a' + 10;
      if (__builtin_mul_overflow(token.integer, Int{base}, &token.integer) ||
          __builtin_add_overflow(token.integer, Int{digit}, &token.integer))
        fail(line_, "an integer is beyond 128 bits");
    }
    tokens_.push_back(std::move(token));
    advance(end);
  }

  bool string() {
    const char quote = peek();
    size_t end = position_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return false;
    add(TokenKind::string, unescape(text_.substr(position_ + 1, end - position_ - 1)));
    advance(end + 1);
    return true;
  }

  // Python's escapes. One that is none stays as it is written.
  std::string unescape(std::string_view raw) {
    std::string out;
    for (size_t i = 0; i < raw.size();) {
      if (raw[i] != '\\') {
        out += raw[i++];
        continue;
      }
      const char c = raw[i + 1];  // the string would not have ended before it
      i += 2;
      constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
      if (const size_t simple = kFrom.find(c); simple != std::string_view::npos)
        out += kTo[simple];
      else if (c == '\n')
        continue;
      else if (c >= '0' && c <= '7')
        append_code(out, raw, --i, 3, 8, false);
      else if (c == 'x')
        append_code(out, raw, i, 2, 16, true);
      else if (c == 'u')
        append_code(out, raw, i, 4, 16, true);
      else if (c == 'U')
        append_code(out, raw, i, 8, 16, true);
      else if (c == 'N')
        fail(line_, "\\N{...} in a string is not supported; write the character itself");
      else
        out.append({'\\', c});
    }
    return out;
  }

  void append_code(std::string& out, std::string_view raw, size_t& i, size_t most, unsigned base, bool all) {
    char32_t code = 0;
    size_t count = 0;
    for (; count < most && i < raw.size(); ++count, ++i) {
      const char c = raw[i];
      const int digit = is_decimal(c)                                  ? c - '0'
                        : std::isxdigit(static_cast<unsigned char>(c)) ? (c | 0x20) - 'a' + 10
                                                                       : 99;
      if (digit >= static_cast<int>(base)) break;
      code = code * base + static_cast<char32_t>(digit);
    }
    if (all && count < most) fail(line_, "truncated escape in a string");
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      fail(line_, "an escape in a string is no character");
    append_character(out, code);
  }

  bool operator_token() {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                               "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](std::string_view op) { return at(op); });
    if (found == std::end(kOperators)) return false;
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) fail(line_, fmt::format("unexpected '{}'", c));
      if (brackets_.back() != c)
        fail(line_, fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
      brackets_.pop_back();
    }
    add(TokenKind::op, std::string(*found));
    advance(position_ + found->size());
    return true;
  }

  const std::string source_;
  const std::string_view text_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // the last tag ended with a line break, or there was none yet
  std::string brackets_;     // the closing ones expected in the tag at hand; its end stands outside them
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data: return "template data";
    case TokenKind::variable_begin: return "begin of print statement";
    case TokenKind::variable_end: return "end of print statement";
    case TokenKind::block_begin: return "begin of statement block";
    case TokenKind::block_end: return "end of statement block";
    case TokenKind::end: return "end of template";
    default: return token.text;
  }
}

}  // namespace minke::jinja
