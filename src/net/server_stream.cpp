#include "net/server_stream.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "base/error.h"
#include "net/listen_socket.h"
#include "net/server_tls.h"

namespace minke {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;

constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // where there are no file descriptors left
constexpr int kAcceptsInARow = 64;

StreamEnd end_of(const error_code& ec) {
  if (!ec) return StreamEnd::none;
  return ec == asio::error::eof ? StreamEnd::end : StreamEnd::broken;
}

// A callback for Asio; `self` keeps the stream as long as it waits.
auto moved(std::shared_ptr<ServerStream> self, ServerStream::Moved done) {
  return [self = std::move(self), done = std::move(done)](const error_code& ec, size_t bytes) {
    done(end_of(ec), bytes);
  };
}

class AsioStream final : public ServerStream, public std::enable_shared_from_this<AsioStream> {
 public:
  AsioStream(Socket socket, asio::ssl::context* tls, std::string peer)
      : socket_(std::move(socket)), timer_(socket_.get_executor()), peer_(std::move(peer)) {
    if (tls) tls_.emplace(socket_, *tls);
  }

  const std::string& peer() const override { return peer_; }
  bool tls() const override { return tls_.has_value(); }

  void post(std::function<void()> f) override { asio::post(socket_.get_executor(), std::move(f)); }

  void handshake(Moved done) override {
    tls_->async_handshake(asio::ssl::stream_base::server, [self = shared_from_this(), done = std::move(done)](
                                                              const error_code& ec) { done(end_of(ec), 0); });
  }

  void read(std::span<char> into, Moved done) override {
    const auto buffer = asio::buffer(into.data(), into.size());
    if (tls_)
      tls_->async_read_some(buffer, moved(shared_from_this(), std::move(done)));
    else
      socket_.async_read_some(buffer, moved(shared_from_this(), std::move(done)));
  }

  void write(std::string_view bytes, Moved done) override {
    const auto buffer = asio::buffer(bytes.data(), bytes.size());
    if (tls_)
      tls_->async_write_some(buffer, moved(shared_from_this(), std::move(done)));
    else
      socket_.async_write_some(buffer, moved(shared_from_this(), std::move(done)));
  }

  void on_wake(std::function<void()> f) override { wake_ = std::move(f); }

  // A timer that runs for an earlier time is left alone: most deadlines are moved away before they come.
  void wake_at(Clock::time_point when) override {
    wanted_ = when;
    if (when != Clock::time_point::max() && when < armed_) arm();
  }

  bool hung_up() override {
    pollfd p{socket_.native_handle(), POLLRDHUP, 0};
    return ::poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }

  void end_writing() override {
    if (!tls_) return shut_down();
    // Asio's shutdown waits for the other side's as well, and OpenSSL then takes what still comes for an
    // error. So only our own end is said: to a BIO of its own, whose bytes are sent as they are.
    BIO* const out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(tls_->native_handle(), out);
    SSL_shutdown(tls_->native_handle());
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    farewell_.assign(data, static_cast<size_t>(size));
    asio::async_write(socket_, asio::buffer(farewell_),
                      [self = shared_from_this()](const error_code&, size_t) { self->shut_down(); });
  }

  void close() override {
    error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
    wanted_ = armed_ = Clock::time_point::max();
    wake_ = nullptr;
  }

  void reset() override {
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    close();
  }

 private:
  void shut_down() {
    error_code ignored;
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  }

  void arm() {
    armed_ = wanted_;
    timer_.expires_at(armed_);
    timer_.async_wait([self = shared_from_this()](const error_code& ec) {
      if (!ec) self->fire();
    });
  }

  void fire() {
    armed_ = Clock::time_point::max();
    if (Clock::now() < wanted_) return wake_at(wanted_);
    wanted_ = Clock::time_point::max();
    if (const auto wake = wake_) wake();
  }

  Socket socket_;
  std::optional<asio::ssl::stream<Socket&>> tls_;
  asio::steady_timer timer_;
  std::string peer_;
  std::string farewell_;  // TLS's end
  std::function<void()> wake_;
  Clock::time_point wanted_ = Clock::time_point::max(), armed_ = Clock::time_point::max();
};

std::string name_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_UNIX) return "unix";
  asio::ip::tcp::endpoint endpoint;
  std::memcpy(endpoint.data(), &address, std::min(sizeof address, endpoint.capacity()));
  asio::ip::address ip = endpoint.address();
  if (ip.is_v6() && ip.to_v6().is_v4_mapped())
    ip = asio::ip::make_address_v4(asio::ip::v4_mapped, ip.to_v6());
  return fmt::format("{}:{}", ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string(), endpoint.port());
}

// Answers go out as they are written, and a machine that has vanished is noticed within a minute.
void set_options(int fd, int family) {
  if (family == AF_UNIX) return;
  const auto set = [&](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace

struct StreamServer::Impl {
  // One listening socket and the loop that accepts from it, on a strand of its own.
  struct Listener {
    Listener(asio::io_context& io, ListenSocket s)
        : socket(std::move(s)), descriptor(asio::make_strand(io)), pause(descriptor.get_executor()) {
      descriptor.assign(socket->fd());
    }
    ~Listener() { descriptor.release(); }  // the socket closes itself

    std::optional<ListenSocket> socket;
    asio::posix::stream_descriptor descriptor;
    asio::steady_timer pause;
  };

  Impl(const HttpListen& where, Accepted a) : accepted(std::move(a)) {
    if (where.certificate.empty() != where.key.empty())
      throw Error("TLS takes both a certificate and its key",
                  where.certificate.string() + where.key.string());
    if (!where.certificate.empty()) tls.emplace(server_tls(where.certificate, where.key).release());
    for (ListenSocket& socket : listen_on(where))
      listeners.push_back(std::make_unique<Listener>(io, std::move(socket)));
    port = listeners.front()->socket->port();
    for (const auto& listener : listeners) await(*listener);
  }

  void await(Listener& listener) {
    listener.descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                                   [this, &listener](const error_code& ec) {
                                     if (ec || stopped) return;
                                     if (accept_some(listener)) return await(listener);
                                     listener.pause.expires_after(kAcceptPause);
                                     listener.pause.async_wait([this, &listener](const error_code& canceled) {
                                       if (!canceled && !stopped) await(listener);
                                     });
                                   });
  }

  // False where it has to pause: there are no file descriptors, or no memory.
  bool accept_some(Listener& listener) {
    for (int i = 0; i < kAcceptsInARow; ++i) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      const int fd =
          ::accept4(listener.socket->fd(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC);
      if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
      if (fd < 0 && (errno == ECONNABORTED || errno == EPROTO || errno == EINTR)) continue;
      if (fd < 0) return false;
      set_options(fd, address.ss_family);
      if (!hand_on(fd, address)) return false;
    }
    return true;
  }

  bool hand_on(int fd, const sockaddr_storage& address) {
    Socket socket(asio::make_strand(io));
    error_code ec;
    socket.assign(asio::generic::stream_protocol(address.ss_family, 0), fd, ec);
    if (ec) {
      ::close(fd);
      return false;
    }
    try {
      accepted(std::make_shared<AsioStream>(std::move(socket), tls ? &*tls : nullptr, name_of(address)));
    } catch (const std::exception&) {  // no memory; the socket has closed itself
      return false;
    }
    return true;
  }

  void stop(Listener& listener) {
    asio::post(listener.descriptor.get_executor(), [&listener] {
      if (!listener.socket) return;
      listener.descriptor.release();
      listener.pause.cancel();
      listener.socket.reset();
    });
  }

  Accepted accepted;
  std::optional<asio::ssl::context> tls;
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> busy = asio::make_work_guard(io);
  std::vector<std::unique_ptr<Listener>> listeners;
  std::atomic<bool> stopped = false;
  uint16_t port = 0;
  std::vector<std::thread> threads;
};

StreamServer::StreamServer(const HttpListen& where, int threads, Accepted accepted)
    : impl_(std::make_unique<Impl>(where, std::move(accepted))) {
  for (int i = 0; i < threads; ++i) impl_->threads.emplace_back([this] { impl_->io.run(); });
}

StreamServer::~StreamServer() {
  stop_listening();
  impl_->busy.reset();
  for (std::thread& thread : impl_->threads) thread.join();
}

uint16_t StreamServer::port() const { return impl_->port; }

void StreamServer::stop_listening() {
  impl_->stopped = true;
  for (const auto& listener : impl_->listeners) impl_->stop(*listener);
}

}  // namespace minke
