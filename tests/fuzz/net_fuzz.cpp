// room: net
// What arrives as text in HTTP: a URL, a reference to resolve, header values. Each is read or refused with an
// Error, and what was read says the same when it is written and read again.

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/header.h"
#include "net/proxy.h"
#include "net/url.h"

namespace {

using namespace minke;

std::optional<Url> parsed(std::string_view text, UserInfo user_info) {
  try {
    return parse_url(text, user_info);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void follow(const Url& base, std::string_view reference) {
  try {
    const Url url = resolve_reference(base, reference);
    MINKE_CHECK(parse_url(url.text()) == url);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto url = parsed(text, UserInfo::refused)) MINKE_CHECK(parse_url(url->text()) == *url);
  if (const auto url = parsed(text, UserInfo::allowed)) {
    Url shown = *url;
    shown.user_info.clear();
    MINKE_CHECK(parse_url(url->text()) == shown);
  }
  const Url base = parse_url("https://example.org/a/b/c?d");
  follow(base, text);
  follow(base, link_target(text, "next"));
  try {
    (void)proxy_for({.http = std::string(text), .none = std::string(text)}, parse_url("http://example.org/"));
  } catch (const Error&) {
  }
  if (const auto range = parse_content_range(text)) MINKE_CHECK(range->first <= range->last);
  (void)parse_retry_after(text);
  MINKE_CHECK(printable(text, 20).size() <= 23);
  MINKE_CHECK(percent_decode(percent_encode(text)) == text);
  return 0;
}
