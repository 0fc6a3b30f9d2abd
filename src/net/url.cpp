#include "net/url.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "net/header.h"

namespace minke {
namespace {

constexpr size_t kMaxUrl = 16 << 10;  // signed CDN addresses reach 3 KiB

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_unreserved(char c) {
  return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

[[noreturn]] void bad_url(std::string_view text, std::string why, std::string help = {}) {
  throw Error(fmt::format("not a URL that can be used: {}", why), printable(text, 200), std::move(help));
}

void check_host(std::string_view host, bool bracketed, std::string_view text) {
  if (host.empty()) bad_url(text, "it names no host");
  if (host.size() > 253) bad_url(text, "its host name is longer than 253 characters");
  if (bracketed) {
    if (host.find(':') == std::string_view::npos) bad_url(text, "the brackets hold no IPv6 address");
    for (const char c : host)
      if (hex_value(c) < 0 && c != ':' && c != '.') bad_url(text, "the brackets hold no IPv6 address");
    return;
  }
  for (const char c : host)
    if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '.' && c != '_')
      bad_url(text, "its host name has characters a host name cannot have",
              "a name with other letters is given in its xn-- form");
  if (host.front() == '.' || host.front() == '-' || host.find("..") != std::string_view::npos)
    bad_url(text, "its host name has an empty part");
}

uint16_t parse_port(std::string_view digits, std::string_view text) {
  unsigned port = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (ec != std::errc() || end != digits.data() + digits.size() || port == 0 || port > 65535)
    bad_url(text, "its port is not a number from 1 to 65535");
  return static_cast<uint16_t>(port);
}

void check_encoding(std::string_view part, std::string_view text) {
  for (size_t i = 0; i < part.size(); ++i) {
    const char c = part[i];
    if (c == '%') {
      if (i + 2 >= part.size() || hex_value(part[i + 1]) < 0 || hex_value(part[i + 2]) < 0)
        bad_url(text, "a % is not followed by two hexadecimal digits");
    } else if (!is_unreserved(c) &&
               std::string_view("!$&'()*+,;=:@/?[]|").find(c) == std::string_view::npos) {
      bad_url(text, fmt::format("byte 0x{:02x} must be percent-encoded", static_cast<unsigned char>(c)));
    }
  }
}

// "user@host:port" into the fields of url.
void parse_authority(std::string_view authority, UserInfo allowed, std::string_view text, Url& url) {
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    if (allowed == UserInfo::refused)
      bad_url(printable(text.substr(text.find('@') + 1), 200), "it holds a user name");
    url.user_info = authority.substr(0, at);
    check_encoding(url.user_info, "(hidden)@" + std::string(authority.substr(at + 1)));
    authority.remove_prefix(at + 1);
  }
  const bool bracketed = authority.starts_with('[');
  size_t host_end = authority.find(':');
  if (bracketed) {
    const size_t closing = authority.find(']');
    if (closing == std::string_view::npos) bad_url(text, "a bracket is not closed");
    url.host = to_lower(authority.substr(1, closing - 1));
    host_end = closing + 1;
    if (host_end < authority.size() && authority[host_end] != ':')
      bad_url(text, "text follows the closing bracket");
  } else {
    host_end = std::min(host_end, authority.size());
    url.host = to_lower(authority.substr(0, host_end));
  }
  check_host(url.host, bracketed, text);
  url.port =
      host_end < authority.size() ? parse_port(authority.substr(host_end + 1), text) : (url.tls() ? 443 : 80);
}

// RFC 3986 section 5.2.4.
std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  size_t begin = 1;  // past the leading slash
  for (;;) {
    const size_t slash = path.find('/', begin);
    const std::string_view segment =
        path.substr(begin, slash == std::string_view::npos ? slash : slash - begin);
    const bool last = slash == std::string_view::npos;
    if (segment == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (segment != ".") {
      kept.push_back(segment);
    }
    if (last) {
      if (segment == "." || segment == "..") kept.push_back("");
      break;
    }
    begin = slash + 1;
  }
  std::string out;
  for (const std::string_view segment : kept) out.append("/").append(segment);
  return out.empty() ? "/" : out;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return port == (tls() ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

std::string Url::origin() const { return scheme + "://" + authority(); }
std::string Url::text() const { return origin() + target; }

Url parse_url(std::string_view text, UserInfo user_info) {
  if (text.size() > kMaxUrl) bad_url(text, fmt::format("it is longer than {} bytes", kMaxUrl));
  Url url;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos)
    bad_url(text, "it has no scheme", "it begins with https:// or http://");
  url.scheme = to_lower(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https")
    bad_url(text, fmt::format("its scheme is '{}'", printable(url.scheme, 20)), "http and https are known");
  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  parse_authority(rest.substr(0, authority_end), user_info, text, url);
  const std::string_view target = rest.substr(authority_end);
  check_encoding(target, text);
  const size_t path_end = std::min(target.find('?'), target.size());
  url.target = path_end == 0 ? "/" : std::string(target.substr(0, path_end));
  url.target += target.substr(path_end);
  return url;
}

Url resolve_reference(const Url& base, std::string_view reference) {
  reference = reference.substr(0, reference.find('#'));
  const size_t scheme_end = reference.find(':');
  if (scheme_end != std::string_view::npos && scheme_end < reference.find_first_of("/?"))
    return parse_url(reference);
  if (reference.starts_with("//")) return parse_url(base.scheme + ":" + std::string(reference));
  const std::string base_path = base.target.substr(0, base.target.find('?'));
  Url url = base;
  url.user_info.clear();
  if (reference.empty()) return url;
  check_encoding(reference, reference);
  const size_t query = std::min(reference.find('?'), reference.size());
  const std::string_view path = reference.substr(0, query);
  if (path.empty()) {
    url.target = base_path;
  } else if (path.front() == '/') {
    url.target = remove_dot_segments(path);
  } else {
    url.target = remove_dot_segments(base_path.substr(0, base_path.rfind('/') + 1) + std::string(path));
  }
  url.target += reference.substr(query);
  if (url.target.size() > kMaxUrl) bad_url(reference, fmt::format("it is longer than {} bytes", kMaxUrl));
  return url;
}

std::string percent_encode(std::string_view text, std::string_view keep) {
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || keep.find(c) != std::string_view::npos)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      throw Error("a % is not followed by two hexadecimal digits", printable(text, 200));
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace minke
