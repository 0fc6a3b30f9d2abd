#include "net/header.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace minke {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Reads a header's value from the left. Each take_ returns false, or nothing, where the text is not of that
// form.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }
  bool take(char c) {
    skip_blanks();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::optional<std::string_view> take_until(char end) {
    const size_t at = rest_.find(end);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at + 1);
    return taken;
  }
  std::string_view take_token() {
    skip_blanks();
    size_t n = 0;
    while (n < rest_.size() && is_token_char(rest_[n])) ++n;
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  // After its opening quote: the string up to the closing one, without the backslashes.
  std::optional<std::string> take_quoted() {
    std::string out;
    for (size_t i = 0; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return out;
      }
      if (rest_[i] == '\\' && ++i == rest_.size()) break;
      out += rest_[i];
    }
    return std::nullopt;
  }

 private:
  void skip_blanks() {
    while (rest_.starts_with(' ') || rest_.starts_with('\t')) rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

bool has_word(std::string_view words, std::string_view wanted) {
  while (!words.empty()) {
    const size_t blank = std::min(words.find(' '), words.size());
    if (same_letters(words.substr(0, blank), wanted)) return true;
    words.remove_prefix(std::min(blank + 1, words.size()));
  }
  return false;
}

std::optional<uint64_t> parse_number(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (ec != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

bool same_letters(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* find_header(const HttpHeaders& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (same_letters(key, name)) return &value;
  return nullptr;
}

void check_header(std::string_view name, std::string_view value) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_token_char))
    throw Error("not the name of an HTTP header", printable(name, 60));
  for (const char c : value)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') ||
        c == 0x7f)  // the value may be secret: it is not shown
      throw Error("its value has a control character or a line break", "HTTP header " + std::string(name));
}

std::string link_target(std::string_view header, std::string_view rel) {
  Scanner scan(header);
  while (!scan.at_end()) {
    if (scan.take(',')) continue;
    if (!scan.take('<')) return {};
    const auto target = scan.take_until('>');
    if (!target) return {};
    bool wanted = false, has_rel = false;
    while (scan.take(';')) {
      const std::string_view name = scan.take_token();
      std::string value;
      if (scan.take('=')) {
        if (scan.take('"')) {
          const auto quoted = scan.take_quoted();
          if (!quoted) return {};
          value = *quoted;
        } else {
          value = scan.take_token();
        }
      }
      if (!same_letters(name, "rel") || has_rel) continue;  // a second rel is ignored (RFC 8288 section 3.3)
      has_rel = true;
      wanted = has_word(value, rel);
    }
    if (wanted) return std::string(*target);
    if (!scan.at_end() && !scan.take(',')) return {};
  }
  return {};
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (!same_letters(value.substr(0, kUnit.size()), kUnit)) return std::nullopt;
  value.remove_prefix(kUnit.size());
  const size_t dash = value.find('-'), slash = value.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return std::nullopt;
  const auto first = parse_number(value.substr(0, dash));
  const auto last = parse_number(value.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) return std::nullopt;
  ContentRange range{*first, *last, std::nullopt};
  if (value.substr(slash + 1) == "*") return range;
  range.total = parse_number(value.substr(slash + 1));
  if (!range.total || *range.total <= range.last) return std::nullopt;
  return range;
}

std::optional<uint64_t> parse_retry_after(std::string_view value) { return parse_number(value); }

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() <= limit) return out;
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80)
    out.pop_back();  // a cut UTF-8 letter
  if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
  return out + "...";
}

}  // namespace minke
