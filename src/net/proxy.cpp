#include "net/proxy.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "net/header.h"

namespace minke {
namespace {

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// "example.org" and ".example.org" both cover the name and everything below it.
bool covers(std::string_view entry, const Url& url) {
  if (entry == "*") return true;
  const size_t colon = entry.find(':');
  if (colon != std::string_view::npos &&
      colon == entry.rfind(':')) {  // two colons: an IPv6 address, not a port
    if (entry.substr(colon + 1) != std::to_string(url.port)) return false;
    entry = entry.substr(0, colon);
  }
  if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
  if (entry.starts_with('.')) entry.remove_prefix(1);
  if (entry.empty() || url.host.size() < entry.size()) return false;
  const std::string_view host = url.host;
  if (!same_letters(host.substr(host.size() - entry.size()), entry)) return false;
  return host.size() == entry.size() || host[host.size() - entry.size() - 1] == '.';
}

}  // namespace

std::optional<Url> proxy_for(const HttpProxies& proxies, const Url& url) {
  const std::string& setting = url.tls() ? proxies.https : proxies.http;
  if (setting.empty() || url.host == "localhost" || url.host.starts_with("127.") || url.host == "::1")
    return std::nullopt;
  std::string_view rest = proxies.none;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    if (covers(trimmed(rest.substr(0, comma)), url)) return std::nullopt;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  const bool has_scheme = setting.find("://") != std::string::npos;
  const std::string subject = url.tls() ? "proxy for https" : "proxy for http";
  try {
    Url proxy = parse_url(has_scheme ? setting : "http://" + setting, UserInfo::allowed);
    if (proxy.tls())
      throw Error("a proxy is spoken to over plain HTTP", proxy.text(), "write http:// before its name");
    return proxy;
  } catch (const Error& e) {
    throw e.within(subject);
  }
}

}  // namespace minke
