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
  std::string host = "127.0.0.1";       // a name or an address; [::1] too
  uint16_t port = 0;                    // 0: any free one, see HttpServer::port
  fs::path unix_socket = {};            // where set, instead of host and port; mode 0600
  fs::path certificate = {}, key = {};  // PEM; both: TLS
};

struct HttpServerLimits {
  size_t header_bytes = 32 << 10;
  uint64_t body_bytes = 32 << 20;
  uint64_t all_body_bytes = 1 << 30;  // of all requests that are being read or wait for their handler
  int connections = 2048;             // more are told 503 and closed
  int handlers = 4;                   // threads that run handlers
  size_t unsent_bytes = 8 << 20;      // a reply whose client reads this much slower is cut
  // From the first byte (or from connecting) to the end of the headers.
  std::chrono::milliseconds header_time{10'000};
  std::chrono::milliseconds body_time{60'000};
  std::chrono::milliseconds idle_time{75'000};   // between two requests of one connection
  std::chrono::milliseconds write_time{30'000};  // without progress; then the connection ends
};

struct ServerRequest {
  uint64_t number = 0;  // of this server, from 1
  std::string method = {};
  std::string path = {};   // percent-decoded; begins with '/', no part of it is "..", printable UTF-8
  std::string query = {};  // as it was sent, without its '?'
  HttpHeaders headers = {};
  std::string body = {};
  std::string peer = {};  // "127.0.0.1:51234", "unix"
  bool tls = false;
  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

struct ServerResponse {
  int status = 200;
  HttpHeaders headers = {};
  std::string body = {};
};

// One request's answer. Any thread may call; calls after the end, or after the connection is gone, do
// nothing. One that is let go before its end is a 500, or aborted where it has begun. Headers must not be the
// server's own (Content-Length, Transfer-Encoding, Connection, Date); Error is thrown for one that could not
// be sent (check_header).
class ServerReply {
 public:
  virtual ~ServerReply() = default;
  virtual void send(ServerResponse response) = 0;  // whole, with Content-Length
  // Streamed: headers go out at once; body in chunks (or until close, for HTTP/1.0).
  virtual void start(int status, HttpHeaders headers) = 0;
  // Never waits: where HttpServerLimits::unsent_bytes wait for the client already, the connection is cut.
  virtual void write(std::string_view bytes) = 0;
  // ": \n\n"-like text that is written whenever nothing was for `silence` since; ends with the reply.
  virtual void keep_awake(std::string comment, std::chrono::milliseconds silence) = 0;
  virtual void finish() = 0;
  virtual void abort() = 0;  // ends the connection in the middle: the client sees that the body is not whole
  // The client has gone, or has ended its own side, which looks the same from here; what is sent to the
  // latter still arrives, so a handler that is quick need not ask.
  virtual bool gone() const = 0;
  // Called once, on a server thread, if the client goes before the reply has ended; at once, by the caller's
  // thread, where it has gone already. It must not block.
  virtual void on_gone(std::function<void()> f) = 0;
};

struct HttpServerOptions {
  HttpListen listen = {};
  HttpServerLimits limits = {};
  // Asked when headers are in, before the body is read: a response refuses the request, whose body is not
  // read then. On a thread that other connections wait for: it must not block.
  std::function<std::optional<ServerResponse>(const ServerRequest& head)> admit = {};
  // On a handler thread. May block for a while (tokenising); what it throws becomes a 500.
  std::function<void(const ServerRequest&, std::shared_ptr<ServerReply>)> handle = {};
  // What a fault that the server finds itself (400, 408, 413, 417, 431, 500, 501, 503, 505) is answered with;
  // plain text where there is none. `head` is what is known of the request; its path is "/" where not even
  // that is.
  std::function<ServerResponse(int status, const std::string& what, const ServerRequest& head)> fault = {};
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
