#pragma once
// HTTP header fields: a list in the order of the wire, and the few values that are read further.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minke {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

bool same_letters(std::string_view a, std::string_view b);  // equal but for the case of ASCII letters

// The first field of this name, in any case; null where there is none.
const std::string* find_header(const HttpHeaders& headers, std::string_view name);

// Throws Error where the field could not be sent as it is: a name that is no token, a value with a line
// break.
void check_header(std::string_view name, std::string_view value);

// The target of the first link of a Link header (RFC 8288) with this relation, as written; empty where there
// is none or where the header is malformed before it. Pagination: rel = "next".
std::string link_target(std::string_view header, std::string_view rel);

// Content-Range: "bytes 5-9/10", or "/*" where the total is not known (RFC 9110 section 14.4). Nothing where
// malformed.
struct ContentRange {
  uint64_t first = 0, last = 0;  // first <= last, and last < total
  std::optional<uint64_t> total;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

// Retry-After in seconds. Its other form, a date, is not read: it would need the server's clock to be ours.
std::optional<uint64_t> parse_retry_after(std::string_view value);

// Text from outside for a message: control characters become '?', at most `limit` bytes and "..." are kept.
std::string printable(std::string_view text, size_t limit);

}  // namespace minke
