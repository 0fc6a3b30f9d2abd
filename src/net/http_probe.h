#pragma once
// For tests of the server: a client that sends the bytes it is told to, in the pieces and at the times it is
// told to.

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <openssl/ssl.h>

#include "base/error.h"
#include "net/header.h"

namespace minke {

class HttpProbe {
 public:
  using Milliseconds = std::chrono::milliseconds;

  struct Response {
    int status = 0;  // 0: none, or not a whole one
    std::string head, body;
    bool whole = false;
    std::string header(const std::string& name) const {
      const size_t at = head.find("\r\n" + name + ": ");
      if (at == head.npos) return "";
      const size_t from = at + name.size() + 4;
      return head.substr(from, head.find("\r\n", from) - from);
    }
  };

  explicit HttpProbe(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    connect_to(port);
  }
  explicit HttpProbe(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  // With TLS; false from connected where the handshake fails.
  HttpProbe(uint16_t port, SSL_CTX* context) : HttpProbe(port) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    ssl_.reset(SSL_new(context), SSL_free);
    SSL_set_fd(ssl_.get(), fd_);
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  HttpProbe(HttpProbe&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        connected_(other.connected_),
        ssl_(std::move(other.ssl_)),
        seen_(std::move(other.seen_)) {}
  ~HttpProbe() { close(); }

  bool connected() const { return connected_; }
  SSL* ssl() { return ssl_.get(); }
  int fd() const { return fd_; }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                             : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // As much as is taken within a tenth of a second.
  void send_some(std::string_view bytes) {
    pollfd p{fd_, POLLOUT, 0};
    while (!bytes.empty() && ::poll(&p, 1, 100) > 0) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void end_sending() {
    if (ssl_) SSL_shutdown(ssl_.get());
    ::shutdown(fd_, SHUT_WR);
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void reset() {
    const linger none{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close();
  }

  // The next response (100 Continue too); `head`: to a HEAD request.
  Response response(bool head = false, Milliseconds longest = Milliseconds(20'000)) {
    const auto until = std::chrono::steady_clock::now() + longest;
    Response r;
    size_t end = 0;
    while ((end = seen_.find("\r\n\r\n")) == seen_.npos)
      if (!receive(until)) return r;
    r.head = seen_.substr(0, end + 2);
    seen_.erase(0, end + 4);
    r.status = std::stoi(r.head.substr(9, 3));
    const std::string length = r.header("Content-Length");
    if (head || r.status < 200 || r.status == 204 || r.status == 304) {
      r.whole = true;
    } else if (!length.empty()) {
      while (seen_.size() < std::stoul(length) && receive(until)) continue;
      r.body = take(std::stoul(length));
      r.whole = r.body.size() == std::stoul(length);
    } else if (r.header("Transfer-Encoding") == "chunked") {
      r.whole = read_chunks(until, r.body);
    } else {
      while (receive(until)) continue;
      r.body = take(seen_.size());
      r.whole = ended_;
    }
    return r;
  }
  Response ask(std::string_view bytes) {
    send(bytes);
    return response();
  }

  // What comes until the other side ends, or nothing has for a while.
  std::string rest(Milliseconds longest = Milliseconds(20'000)) {
    const auto until = std::chrono::steady_clock::now() + longest;
    while (receive(until)) continue;
    return take(seen_.size());
  }
  // Waits until this text has come.
  bool wait_for(std::string_view text, Milliseconds longest = Milliseconds(20'000)) {
    const auto until = std::chrono::steady_clock::now() + longest;
    while (seen_.find(text) == seen_.npos)
      if (!receive(until)) return false;
    return true;
  }
  // The other side's end, of either kind; what comes before it is kept.
  bool ends_within(Milliseconds longest) {
    const auto until = std::chrono::steady_clock::now() + longest;
    while (receive(until)) continue;
    return ended_ || broken_;
  }
  bool ended() const { return ended_; }    // as it should
  bool broken() const { return broken_; }  // reset, or TLS without its end

 private:
  void connect_to(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool receive(std::chrono::steady_clock::time_point until) {
    if (ended_ || broken_) return false;
    if (!ssl_ || SSL_pending(ssl_.get()) == 0) {
      const auto left =
          std::chrono::duration_cast<Milliseconds>(until - std::chrono::steady_clock::now()).count();
      pollfd p{fd_, POLLIN, 0};
      if (left < 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0) return false;
    }
    char chunk[1 << 16];
    const ssize_t n = ssl_ ? SSL_read(ssl_.get(), chunk, sizeof chunk) : ::recv(fd_, chunk, sizeof chunk, 0);
    if (n > 0) {
      seen_.append(chunk, static_cast<size_t>(n));
      return true;
    }
    const bool clean =
        ssl_ ? SSL_get_error(ssl_.get(), static_cast<int>(n)) == SSL_ERROR_ZERO_RETURN : n == 0;
    (clean ? ended_ : broken_) = true;
    return false;
  }
  std::string take(size_t n) {
    std::string out = seen_.substr(0, n);
    seen_.erase(0, n);
    return out;
  }
  bool read_chunks(std::chrono::steady_clock::time_point until, std::string& body) {
    for (;;) {
      size_t line = 0;
      while ((line = seen_.find("\r\n")) == seen_.npos)
        if (!receive(until)) return false;
      const size_t size = std::stoul(seen_.substr(0, line), nullptr, 16);
      while (seen_.size() < line + 2 + size + 2)
        if (!receive(until)) return false;
      body += seen_.substr(line + 2, size);
      seen_.erase(0, line + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  int fd_;
  bool connected_ = false, ended_ = false, broken_ = false;
  std::shared_ptr<SSL> ssl_;
  std::string seen_;
};

}  // namespace minke
