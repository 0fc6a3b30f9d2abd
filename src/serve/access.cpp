#include "serve/access.h"

#include <algorithm>

#include "base/error.h"

namespace minke {
namespace {

// Without its port, brackets kept.
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// Of digits and dots, or in brackets: no name that somebody's DNS could say anything about.
bool is_address(std::string_view host) {
  if (host.size() > 2 && host.starts_with('[') && host.ends_with(']')) return true;
  return std::ranges::count(host, '.') == 3 &&
         std::ranges::all_of(host, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

}  // namespace

bool host_allowed(std::string_view host, const std::vector<std::string>& hosts) {
  const std::string_view name = host_name(host);
  if (name.empty()) return false;
  return same_letters(name, "localhost") || is_address(name) ||
         std::ranges::any_of(hosts, [&](const std::string& h) { return same_letters(h, name); });
}

OriginKind origin_kind(const ServerRequest& request, const std::vector<std::string>& origins) {
  const std::string* origin = request.header("Origin");
  if (!origin) return OriginKind::none;
  const std::string* host = request.header("Host");
  if (host && same_letters(*origin, (request.tls ? "https://" : "http://") + *host)) return OriginKind::same;
  for (const std::string& allowed : origins)
    if (allowed == "*" || same_letters(allowed, *origin)) return OriginKind::allowed;
  return OriginKind::foreign;
}

std::string_view given_key(const ServerRequest& request) {
  constexpr std::string_view kBearer = "Bearer ";
  if (const std::string* header = request.header("Authorization")) {
    const std::string_view value = *header;
    if (value.size() > kBearer.size() && same_letters(value.substr(0, kBearer.size()), kBearer)) {
      std::string_view key = value.substr(kBearer.size());
      key.remove_prefix(std::min(key.find_first_not_of(' '), key.size()));
      return key;
    }
  }
  if (const std::string* header = request.header("x-api-key")) return *header;
  return {};
}

std::optional<Fault> refused(const ServerRequest& request, const AccessOptions& options, const KeyRing& keys,
                             bool open_route, std::optional<ApiKey>& key) {
  const std::string* host = request.header("Host");
  if (request.peer != "unix" && host && !host_allowed(*host, options.hosts))
    return Fault{Fault::Kind::permission,
                 "the Host header names a host that is not this server's; --allow-host adds one"};
  if (origin_kind(request, options.origins) == OriginKind::foreign)
    return Fault{Fault::Kind::permission, "this origin may not ask; --cors-origin adds one"};
  if (!keys.asks() || open_route) return std::nullopt;
  const std::string_view given = given_key(request);
  if (given.empty())
    return Fault{Fault::Kind::authentication, "no API key: it goes into 'Authorization: Bearer KEY'"};
  key = keys.find(given);
  if (!key)
    return Fault{Fault::Kind::authentication, "this API key is not known here", {}, "invalid_api_key"};
  return std::nullopt;
}

}  // namespace minke
