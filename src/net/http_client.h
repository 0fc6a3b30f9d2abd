#pragma once
// A blocking HTTP/1.1 client (RFC 9110, 9112): one connection a request, bodies streamed, every wait bounded.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "net/header.h"
#include "net/proxy.h"

namespace minke {

struct HttpOptions {
  HttpProxies proxies = {};
  fs::path ca_file = {};  // PEM certificates trusted beside the system's; empty: none
  std::string user_agent = "minke";
};

struct HttpTimeouts {
  // Finding the name, connecting and TLS, for each host on the way.
  std::chrono::milliseconds connect{15'000};
  // Within each such span at least idle_bytes must pass.
  std::chrono::milliseconds idle{30'000};
  uint64_t idle_bytes = 1;
  // The request with its redirects; 0: as long as bytes keep coming.
  std::chrono::milliseconds total{0};
};

// How a request ended otherwise than with a whole response.
enum class HttpFailure {
  none,
  name,     // the host's name was not found
  connect,  // refused, unreachable
  tls,      // the certificate, above all
  timeout,
  broken,     // the connection ended, or the body did, before its time
  malformed,  // not HTTP, or more of it than was allowed
  redirect,   // too many, to a place that is no URL, or from https to http
  canceled,
};

struct HttpResponse {
  int status = 0;      // 0 where none arrived
  std::string reason;  // "Not Found"
  HttpHeaders headers;
  std::string body;  // empty where it was streamed; of a status other than 2xx, at most the first 64 KiB
  std::string url;   // the one that answered: after redirects, with its query
  HttpFailure failure = HttpFailure::none;
  std::string detail;  // of the failure, for people

  bool ok() const { return failure == HttpFailure::none && status >= 200 && status < 300; }
  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

// Which redirects are followed, for GET and HEAD; the others come back as the response.
enum class Redirects { none, same_origin, any };

struct HttpRequest {
  std::string method = "GET";
  std::string url = {};
  // Host, User-Agent, Accept-Encoding, Connection and Content-Length are the client's own.
  HttpHeaders headers = {};
  std::string body = {};
  HttpTimeouts timeouts = {};
  Redirects redirects = Redirects::any;
  int max_redirects = 10;
  uint64_t max_body = 64 << 20;  // a longer body is a failure
  size_t max_header_bytes = 64 << 10;
  // Takes the body of a 2xx response as it arrives; the response has everything but the body. May throw.
  std::function<void(const HttpResponse&, Bytes)> on_body = {};
  std::function<bool()> canceled = {};  // asked ten times a second; called on the requesting thread
};

class HttpClient {
 public:
  // Throws Error naming ca_file where it cannot be read.
  explicit HttpClient(HttpOptions options = {});
  ~HttpClient();

  // Sends the request and waits for the end of the response. What the network or the other side does is
  // reported in the response; Error is thrown for a request that cannot be sent at all (no URL, a header with
  // a line break, a proxy setting that is none), and what on_body throws passes through. Authorization and
  // Cookie are left behind where a redirect leads to another scheme, host or port. May be called from several
  // threads at once.
  HttpResponse request(const HttpRequest& request) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What a failure, or a status other than 2xx, is to a user: names the URL without its query, and shows the
// beginning of the body. Not for a response that is ok.
Error http_error(const HttpResponse& response);

}  // namespace minke
