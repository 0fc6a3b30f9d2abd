#pragma once
// Who may ask: hosts and origins against DNS rebinding, and keys.

#include <string>
#include <string_view>
#include <vector>

#include "api/fault.h"
#include "net/http_server.h"
#include "serve/keys.h"

namespace minke {

struct AccessOptions {
  std::vector<std::string> hosts;    // names a Host header may have, beside localhost and addresses
  std::vector<std::string> origins;  // of web pages that may ask: "https://chat.example"; "*": all
};

// Whether a Host header names this server in a way that no stranger's DNS entry can: localhost, an address,
// or a name of the list, with any port.
bool host_allowed(std::string_view host, const std::vector<std::string>& hosts);

enum class OriginKind : uint8_t {
  none,     // no browser's request from another page
  same,     // the server's own
  allowed,  // named
  foreign,
};
OriginKind origin_kind(const ServerRequest& request, const std::vector<std::string>& origins);

// The key in "Authorization: Bearer KEY" or "x-api-key: KEY"; empty: none.
std::string_view given_key(const ServerRequest& request);

// Nothing, or why the request is refused. `key` becomes the one that was given, where keys are asked for.
std::optional<Fault> refused(const ServerRequest& request, const AccessOptions& options, const KeyRing& keys,
                             bool open_route, std::optional<ApiKey>& key);

}  // namespace minke
