#pragma once
// URLs as HTTP needs them (RFC 3986), parsed strictly: what is unusual is refused, not guessed at.

#include <cstdint>
#include <string>
#include <string_view>

namespace minke {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string
      user_info;       // "user:password", still percent-encoded; only where parse_url was asked to allow it
  std::string host;    // lower case; a name, an IPv4 address, or an IPv6 address without its brackets
  uint16_t port = 0;   // always set: 80 or 443 where the text had none
  std::string target;  // path and query as they are sent, "/" at least; a fragment is dropped

  bool tls() const { return scheme == "https"; }
  std::string authority()
      const;  // "host" or "host:port", the port where it is not the scheme's; IPv6 in brackets
  std::string origin() const;  // "scheme://authority"
  std::string text() const;    // origin and target; never the user info

  bool operator==(const Url&) const = default;
};

enum class UserInfo { refused, allowed };

// An absolute http or https URL. Throws Error naming the text: another scheme, no host, a bad port, a
// character that must be percent-encoded, a name that is not ASCII (internationalised names are given in
// their xn-- form).
Url parse_url(std::string_view text, UserInfo user_info = UserInfo::refused);

// What `reference` means seen from `base` (RFC 3986 section 5.2): absolute, "//host/x", "/x", "x", "../x" or
// "?q".
Url resolve_reference(const Url& base, std::string_view reference);

// Percent-encodes all but unreserved characters (RFC 3986 section 2.3) and those of `keep`: "/" for a path.
std::string percent_encode(std::string_view text, std::string_view keep = {});

// The reverse; throws Error where a % is not followed by two hexadecimal digits.
std::string percent_decode(std::string_view text);

}  // namespace minke
