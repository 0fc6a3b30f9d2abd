#pragma once
// One connection of the server: requests are read, handed on and answered one after the other.

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_server.h"
#include "net/request_reader.h"
#include "net/server_core.h"
#include "net/server_reply.h"
#include "net/server_stream.h"

namespace minke {

// Bytes that have come and were not used yet, and room for more behind them.
class InputBuffer {
 public:
  std::string_view bytes() const { return {data_.data() + begin_, end_ - begin_}; }
  std::span<char> room(size_t wanted);  // it stays where it is until it is asked for again
  void add(size_t n) { end_ += n; }
  void remove(size_t n) { begin_ += n; }

 private:
  std::vector<char> data_;
  size_t begin_ = 0, end_ = 0;
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // refused: one too many, which is told so.
  HttpConnection(std::shared_ptr<ServerCore> core, std::shared_ptr<ServerStream> stream, bool refused);

  // From any thread.
  void start();
  void drain();  // no further request; counts one down from the core's busy ones when it has been heard
  void end();    // at once

 private:
  using Clock = ServerStream::Clock;
  enum class State {
    greeting,   // the TLS handshake
    head,       // waiting for a request, or in its header
    body,       // in its body
    replying,   // a reply is under way
    lingering,  // all is said: reading on for a while, so that the client reads the last answer before an
                // error
    closed,
  };

  template <typename F>
  void on_strand(F f);  // runs it, closes where it throws

  // Reading.
  void begin();
  void on_drain();
  void read_on();
  void on_read(StreamEnd end, size_t bytes);
  void advance();
  bool take();
  bool admit_head();
  void on_input_end();
  void dispatch();
  void expect_request();

  // Replying.
  void open_reply(bool keep_alive);
  void refuse(int status, const std::string& what);
  void answer(const ServerResponse& response, bool keep_alive);
  void flush();
  void write_on();
  void on_written(StreamEnd end, size_t bytes);
  void on_reply_end(ReplyChannel::End end);
  void set_busy(bool busy);
  void linger();
  void close(bool with_error = false);

  // Time.
  void check_times();
  void on_late();
  void set_timer();

  const std::shared_ptr<ServerCore> core_;
  const HttpServerLimits& limits_;
  const std::shared_ptr<ServerStream> stream_;
  const bool refused_;

  State state_ = State::head;
  InputBuffer input_;
  std::optional<RequestReader> reader_;
  BodyBytes held_;
  ServerRequest head_;  // of the request that is answered
  std::shared_ptr<ReplyChannel> channel_;
  std::string output_;  // being written, from written_ on
  size_t written_ = 0;
  bool output_of_reply_ = false;  // or our own: 100 Continue
  bool reading_ = false, writing_ = false, busy_ = false;
  bool client_ended_ = false;  // it sends no more, but may still read
  bool head_begun_ = false, first_request_ = true;
  Clock::time_point read_by_ = Clock::time_point::max();
  Clock::time_point write_by_ = Clock::time_point::max();
  Clock::time_point linger_by_ = Clock::time_point::max();
  Clock::time_point look_at_ =
      Clock::time_point::max();  // when the client's presence is asked for, where it is not read from
};

}  // namespace minke
