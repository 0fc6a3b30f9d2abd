#pragma once
// Which proxy a URL goes through, by the customary rules of http_proxy, https_proxy and no_proxy.

#include <optional>
#include <string>

#include "net/url.h"

namespace minke {

struct HttpProxies {
  // For URLs of that scheme: "http://[user:password@]host:port", or "host:port"; empty: none.
  std::string http = {};
  std::string https = {};
  // Hosts reached directly, by commas: "*", "name" (and all below it), ".name", "name:port", an address.
  std::string none = {};
};

// The proxy for this URL, with its user info; nothing where it is reached directly: also for this machine's
// own addresses (localhost, 127.0.0.1, ::1). Throws Error where the setting is no URL or not an http proxy.
std::optional<Url> proxy_for(const HttpProxies& proxies, const Url& url);

}  // namespace minke
