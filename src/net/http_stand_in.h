#pragma once
// For tests: an HTTP server on a loopback port whose handler writes the bytes of its answers itself, so that
// it can answer well, badly, slowly or not at all. With a certificate it speaks TLS.

#include <arpa/inet.h>
#include <atomic>
#include <csignal>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "net/header.h"

namespace minke {

// A self-signed certificate: its own authority.
struct Certificate {
  std::shared_ptr<EVP_PKEY> key;
  std::shared_ptr<X509> x509;

  // names: as in the subjectAltName extension, "DNS:localhost,IP:127.0.0.1".
  explicit Certificate(const std::string& names, int days_left = 1)
      : key(EVP_EC_gen("P-256"), EVP_PKEY_free), x509(X509_new(), X509_free) {
    X509* const x = x509.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -10L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x), days_left * 86400L);
    X509_set_pubkey(x, key.get());
    X509_NAME* const name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("stand-in"),
                               -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION* const extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(x, key.get(), EVP_sha256());
  }

  std::string pem() const {
    return written([&](BIO* bio) { PEM_write_bio_X509(bio, x509.get()); });
  }
  std::string key_pem(const char* password = nullptr) const {
    return written([&](BIO* bio) {
      PEM_write_bio_PrivateKey(bio, key.get(), password ? EVP_aes_256_cbc() : nullptr, nullptr, 0, nullptr,
                               const_cast<char*>(password));
    });
  }

 private:
  static std::string written(const std::function<void(BIO*)>& write) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), BIO_free_all);
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  }
};

class HttpStandIn {
 public:
  struct Request {
    std::string method, target, body;
    HttpHeaders headers;
    std::string header(std::string_view name) const {
      const std::string* value = find_header(headers, name);
      return value ? *value : "";
    }
  };

  // The connection a handler answers on; it is closed when the handler returns.
  class Peer {
   public:
    Peer(int fd, SSL* ssl, const std::atomic<bool>& stopping) : fd_(fd), ssl_(ssl), stopping_(stopping) {}
    // Returns false once the other side is gone.
    bool send(std::string_view text) {
      while (!text.empty()) {
        const ssize_t n =
            ssl_ ? SSL_write(ssl_, text.data(), static_cast<int>(std::min(text.size(), size_t{1} << 20)))
                 : ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        text.remove_prefix(static_cast<size_t>(n));
      }
      return true;
    }
    size_t receive(char* data, size_t size) {
      const ssize_t n = ssl_ ? SSL_read(ssl_, data, static_cast<int>(size)) : ::recv(fd_, data, size, 0);
      return n > 0 ? static_cast<size_t>(n) : 0;
    }
    // Waits; false once the test is over or the other side has gone.
    bool sleep(int milliseconds) {
      pollfd p{fd_, POLLRDHUP, 0};
      return ::poll(&p, 1, milliseconds) == 0 && !stopping_;
    }

   private:
    int fd_;
    SSL* ssl_;
    const std::atomic<bool>& stopping_;
  };
  using Handler = std::function<void(const Request&, Peer&)>;

  explicit HttpStandIn(Handler handler, const Certificate* certificate = nullptr)
      : handler_(std::move(handler)) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    if (certificate) {
      tls_.reset(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
      SSL_CTX_use_certificate(tls_.get(), certificate->x509.get());
      SSL_CTX_use_PrivateKey(tls_.get(), certificate->key.get());
    }
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    MINKE_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    MINKE_CHECK(::listen(listener_, 64) == 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~HttpStandIn() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(listener_);
  }

  int port() const { return port_; }
  std::string url(std::string_view path = "") const {
    return fmt::format("{}://127.0.0.1:{}{}", tls_ ? "https" : "http", port_, path);
  }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0 || stopping_) {
        if (fd >= 0) ::close(fd);
        return;
      }
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    std::shared_ptr<SSL> ssl;
    bool greeted = true;
    if (tls_) {
      ssl.reset(SSL_new(tls_.get()), SSL_free);
      SSL_set_fd(ssl.get(), fd);
      greeted = SSL_accept(ssl.get()) == 1;
    }
    Peer peer(fd, ssl.get(), stopping_);
    Request request;
    if (greeted && read_request(peer, request)) {
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      handler_(request, peer);
      if (ssl) SSL_shutdown(ssl.get());
    }
    const std::lock_guard lock(mutex_);
    open_.remove(fd);
    ::close(fd);
  }

  static bool read_request(Peer& peer, Request& request) {
    std::string text;
    size_t end = std::string::npos;
    char chunk[4096];
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      const size_t n = peer.receive(chunk, sizeof chunk);
      if (n == 0) return false;
      text.append(chunk, n);
      if (text[0] == 0x16) {  // a TLS greeting
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        return false;
      }
    }
    const std::string head = text.substr(0, end + 2);
    request.body = text.substr(end + 4);
    request.method = head.substr(0, head.find(' '));
    const size_t target = request.method.size() + 1;
    request.target = head.substr(target, head.find(' ', target) - target);
    size_t line = head.find("\r\n") + 2;
    while (line < head.size()) {
      const size_t colon = head.find(':', line), stop = head.find("\r\n", line);
      request.headers.emplace_back(head.substr(line, colon - line), head.substr(colon + 2, stop - colon - 2));
      line = stop + 2;
    }
    const std::string length = request.header("Content-Length");
    while (!length.empty() && request.body.size() < std::stoul(length)) {
      const size_t n = peer.receive(chunk, sizeof chunk);
      if (n == 0) return false;
      request.body.append(chunk, n);
    }
    return true;
  }

  Handler handler_;
  std::shared_ptr<SSL_CTX> tls_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::list<int> open_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

// A whole response with its Content-Length.
inline std::string http_response(int status, const HttpHeaders& headers, std::string_view body) {
  std::string text = fmt::format("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n", status, body.size());
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n" + std::string(body);
}

}  // namespace minke
