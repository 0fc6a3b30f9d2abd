#pragma once
// One request's reply, between the threads that give it and the connection that sends it.

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_server.h"

namespace minke {

class ReplyChannel {
 public:
  using Clock = std::chrono::steady_clock;

  struct Form {
    bool head_only = false;  // the request's method is HEAD
    bool http10 = false;
    bool keep_alive = true;
    size_t unsent_bytes = 0;  // HttpServerLimits::unsent_bytes
  };

  // wake: called, from any thread and with a lock held, when there is something to take.
  ReplyChannel(Form form, std::function<void()> wake);

  // From any thread, as ServerReply has them.
  void send(const ServerResponse& response);
  void start(int status, const HttpHeaders& headers);
  void write(std::string_view bytes);
  void keep_awake(std::string comment, std::chrono::milliseconds silence);
  void finish();
  void abort();
  bool gone() const;
  void on_gone(std::function<void()> f);
  void fail(const ServerResponse& response);  // sends it, or aborts what has begun
  void abandon();                             // nobody will answer any more

  // From the connection.
  enum class End {
    open,
    whole,
    aborted,
    abandoned,  // before its start
    overflow,   // the client reads too slowly
  };
  struct Piece {
    std::string bytes;
    End end = End::open;  // behind these bytes
  };
  Piece take();
  bool overflowed() const;
  void sent(size_t bytes);  // of what was taken
  void close_after();       // no further request on this connection
  bool keep_alive() const;
  Clock::time_point awake_at() const;  // when the next comment is due; max: never
  void stay_awake(Clock::time_point now);
  void client_gone();  // what is written may still arrive: a client may have ended its own side only
  void disconnect();   // nothing is sent any more; wake is not called again

 private:
  using Callbacks = std::vector<std::function<void()>>;

  void send_whole(const ServerResponse& response, Callbacks& dropped);
  void begin(int status, const HttpHeaders& headers, bool whole, size_t length);
  void queue(std::string_view bytes);
  void end(End end, Callbacks& dropped);
  void wake();

  mutable std::mutex mutex_;
  Form form_;
  std::function<void()> wake_;  // null once disconnected
  bool woken_ = false;
  bool begun_ = false, chunked_ = false, bodiless_ = false, gone_ = false;
  End end_ = End::open;
  std::string queued_;
  size_t taken_ = 0;  // bytes taken and not yet sent
  Callbacks when_gone_;
  std::string comment_;
  std::chrono::milliseconds silence_{0};
  Clock::time_point last_;  // write
};

// What a handler gets. Where it is let go before its end, the channel is abandoned.
std::shared_ptr<ServerReply> make_reply(std::shared_ptr<ReplyChannel> channel);

}  // namespace minke
