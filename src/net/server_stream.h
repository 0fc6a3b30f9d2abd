#pragma once
// Accepted connections as streams of bytes, with TLS or without, and the threads that move them. Asio stays
// behind this.

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/http_server.h"

namespace minke {

// How an operation ended; end: the other side sends no more; broken: nothing moves any more.
enum class StreamEnd { none, end, broken };

// All but post is called on the stream's own strand: from what it calls back, one call at a time. Nothing is
// called back from inside the call that asks for it.
class ServerStream {
 public:
  using Clock = std::chrono::steady_clock;
  using Moved = std::function<void(StreamEnd end, size_t bytes)>;
  virtual ~ServerStream() = default;

  virtual const std::string& peer() const = 0;  // "127.0.0.1:51234", "[::1]:51234", "unix"
  virtual bool tls() const = 0;

  virtual void post(std::function<void()> f) = 0;  // f on the strand; any thread may ask

  virtual void handshake(Moved done) = 0;  // of TLS, before all else
  // One read and one write may be under way. Both move what can be moved at once, at least a byte; what they
  // refer to stays until they are done.
  virtual void read(std::span<char> into, Moved done) = 0;
  virtual void write(std::string_view bytes, Moved done) = 0;

  virtual void on_wake(std::function<void()> f) = 0;
  virtual void wake_at(Clock::time_point when) = 0;  // calls it then, or earlier; the last word counts

  virtual bool
  hung_up() = 0;  // whether the other side has gone or sends no more, behind what was not read yet
  virtual void end_writing() = 0;  // nothing is written after it; the other side sees the end
  virtual void close() = 0;        // what is under way ends as broken
  virtual void reset() = 0;        // closes so that the other side sees an error, not an end
};

// Listens and accepts.
class StreamServer {
 public:
  using Accepted = std::function<void(std::shared_ptr<ServerStream>)>;  // called on any of the threads

  // Throws Error as listen_on and server_tls do.
  StreamServer(const HttpListen& where, int threads, Accepted accepted);
  ~StreamServer();  // waits until all streams have been closed

  uint16_t port() const;
  void stop_listening();  // any thread

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke
