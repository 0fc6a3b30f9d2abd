#pragma once
// An HTTP/1.1 server (RFC 9110, 9112) on TCP, with or without TLS, or on a Unix socket. Knows no endpoint: it
// reads whole requests within limits, and hands each to a handler with a reply that any thread may write to.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "net/header.h"

namespace minke {

struct HttpListen {
  std::string host = "127.0.0.1";  // a name or an address; [::1] too
  uint16_t port = 0;               // 0: any free one, see HttpServer::port
  fs::path unix_socket;            // where set, instead of host and port; mode 0600
  fs::path certificate, key;       // PEM; both: TLS
};

struct HttpServerLimits {
  size_t header_bytes = 32 << 10;
  uint64_t body_bytes = 32 << 20;
  uint64_t all_body_bytes = 1 << 30;  // of all requests that are being read or wait for their handler
  int connections = 2048;             // more are told 503 and closed
  int handlers = 4;                   // threads that run handlers
  size_t unsent_bytes = 8 << 20;      // a reply whose client reads this much slower is cut
  std::chrono::milliseconds header_time{
      10'000};  // from the first byte (or from connecting) to the end of the headers
  std::chrono::milliseconds body_time{60'000};
  std::chrono::milliseconds idle_time{75'000};  // between two requests of one connection
  std::chrono::milliseconds write_time{
      30'000};  // a write that makes no progress for this long ends the connection
};

struct ServerRequest {
  uint64_t number = 0;              // of this server, from 1
  std::string method, path, query;  // path is percent-decoded, always begins with '/', has no "..", no NUL
  HttpHeaders headers;
  std::string body;
  std::string peer;  // "127.0.0.1:51234", "unix"
  bool tls = false;
  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

struct ServerResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;
};

// One request's answer. Any thread may call; calls after the end, or after the client is gone, do nothing.
class ServerReply {
 public:
  virtual ~ServerReply() = default;
  virtual void send(ServerResponse response) = 0;  // whole, with Content-Length
  // Streamed: headers go out at once; body in chunks (or until close, for HTTP/1.0).
  virtual void start(int status, HttpHeaders headers) = 0;
  virtual void write(std::string_view bytes) = 0;
  // ": \n\n"-like text that is written whenever nothing was for `silence` since; ends with the reply.
  virtual void keep_awake(std::string comment, std::chrono::milliseconds silence) = 0;
  virtual void finish() = 0;
  virtual void abort() = 0;  // ends the connection in the middle: the client sees that the body is not whole
  virtual bool gone() const = 0;
  // Called once, on a server thread, if the client goes before the reply has ended; at once where it has gone
  // already.
  virtual void on_gone(std::function<void()> f) = 0;
};

struct HttpServerOptions {
  HttpListen listen;
  HttpServerLimits limits;
  // Asked when headers are in, before the body is read: a response refuses the request (and the body is not
  // read).
  std::function<std::optional<ServerResponse>(const ServerRequest& head)> admit;
  // On a handler thread. May block for a while (tokenising); what it throws becomes a 500.
  std::function<void(const ServerRequest&, std::shared_ptr<ServerReply>)> handle;
  // What a fault that the server finds itself (400, 408, 413, 431, 501, 503, 500) is answered with.
  std::function<ServerResponse(int status, const std::string& what, const ServerRequest& head)> fault;
};

class HttpServer {
 public:
  // Listens from here on. Throws Error naming host and port, socket, certificate.
  explicit HttpServer(HttpServerOptions options);
  ~HttpServer();  // ends at once

  uint16_t port() const;
  int connections() const;
  // No new connections and requests; waits for replies under way, at most that long. True where all ended.
  bool drain(std::chrono::milliseconds longest);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke
