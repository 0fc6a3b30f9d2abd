#include "net/http_connection.h"

#include <algorithm>

#include "base/error.h"

namespace minke {
namespace {

using namespace std::chrono_literals;

constexpr auto kNever = ServerStream::Clock::time_point::max();
constexpr size_t kReadHead = 8 << 10, kReadBody = 64 << 10;
constexpr size_t kReadAhead = 64 << 10;  // of requests that come while a reply is under way
constexpr auto kLook = 100ms;            // how often a client that is not read from is looked after
constexpr auto kRefusedTime = 2s;        // for the header of a request that is refused anyway
constexpr auto kLingerSilence = 5s;

ServerRequest head_of(const ServerRequest& request) {
  return {.number = request.number,
          .method = request.method,
          .path = request.path,
          .query = request.query,
          .headers = request.headers,
          .body = {},
          .peer = request.peer,
          .tls = request.tls};
}

}  // namespace

std::span<char> InputBuffer::room(size_t wanted) {
  const std::string_view kept = bytes();
  if (data_.size() > 2 * (kept.size() + wanted) || data_.size() < kept.size() + wanted) {
    std::vector<char> data(std::max(kept.size() + kept.size() / 2, kept.size() + wanted));
    std::copy(kept.begin(), kept.end(), data.begin());
    end_ = kept.size();
    data_ = std::move(data);
    begin_ = 0;
  } else if (data_.size() - end_ < wanted) {
    std::copy(kept.begin(), kept.end(), data_.begin());
    end_ = kept.size();
    begin_ = 0;
  }
  return {data_.data() + end_, data_.size() - end_};
}

HttpConnection::HttpConnection(std::shared_ptr<ServerCore> core, std::shared_ptr<ServerStream> stream,
                               bool refused)
    : core_(std::move(core)),
      limits_(core_->options().limits),
      stream_(std::move(stream)),
      refused_(refused),
      held_(core_->body_bytes()) {}

template <typename F>
void HttpConnection::on_strand(F f) {
  if (state_ == State::closed) return;
  try {
    f();
    if (state_ != State::closed) set_timer();
  } catch (...) {  // no memory, above all
    close(true);
  }
}

void HttpConnection::start() {
  stream_->post([self = shared_from_this()] { self->on_strand([&] { self->begin(); }); });
}

void HttpConnection::drain() {
  stream_->post([self = shared_from_this()] {
    self->on_strand([&] { self->on_drain(); });
    self->core_->count_busy(-1);
  });
}

void HttpConnection::end() {
  stream_->post([self = shared_from_this()] { self->close(); });
}

// ---- Reading

void HttpConnection::begin() {
  stream_->on_wake([self = shared_from_this()] { self->on_strand([&] { self->check_times(); }); });
  expect_request();
  if (!stream_->tls()) return read_on();
  state_ = State::greeting;
  stream_->handshake([self = shared_from_this()](StreamEnd end, size_t) {
    self->on_strand([&] {
      if (end != StreamEnd::none) return self->close();
      self->expect_request();
      self->read_on();
    });
  });
}

void HttpConnection::expect_request() {
  state_ = State::head;
  reader_.emplace(limits_.header_bytes, limits_.body_bytes);
  head_begun_ = false;
  head_ = {};
  read_by_ = Clock::now() + (refused_         ? std::min<Clock::duration>(kRefusedTime, limits_.header_time)
                             : first_request_ ? limits_.header_time
                                              : limits_.idle_time);
}

// A read is always under way, so that a client that goes is noticed; but for one that has sent more than is
// to be kept before its next request can be read.
void HttpConnection::read_on() {
  if (reading_ || client_ended_ || state_ == State::closed) return;
  if (state_ == State::replying && input_.bytes().size() >= kReadAhead) {
    look_at_ = Clock::now() + kLook;
    return;
  }
  look_at_ = kNever;
  reading_ = true;
  const bool much = state_ == State::body || state_ == State::lingering;
  stream_->read(input_.room(much ? kReadBody : kReadHead),
                [self = shared_from_this()](StreamEnd end, size_t bytes) {
                  self->on_strand([&] { self->on_read(end, bytes); });
                });
}

void HttpConnection::on_read(StreamEnd end, size_t bytes) {
  reading_ = false;
  input_.add(bytes);
  if (end == StreamEnd::broken) return close();
  client_ended_ = end == StreamEnd::end;
  if (state_ == State::lingering) {
    if (client_ended_) return close();
    input_.remove(input_.bytes().size());
    read_by_ = Clock::now() + kLingerSilence;
  }
  if (state_ == State::replying && client_ended_) channel_->client_gone();
  advance();
}

// As far as the bytes at hand lead.
void HttpConnection::advance() {
  while ((state_ == State::head || state_ == State::body) && take()) continue;
  const bool begun = state_ == State::body || !input_.bytes().empty();
  if ((state_ == State::head || state_ == State::body) && client_ended_) {
    if (!begun) return close();
    return refuse(400, "the request ends in the middle");
  }
  if (state_ == State::head && begun && !head_begun_) {
    head_begun_ = true;
    if (!first_request_) read_by_ = Clock::now() + limits_.header_time;
  }
  read_on();
}

// Gives the reader what is there; true where there may be more to take.
bool HttpConnection::take() {
  const auto before = reader_->stage();
  input_.remove(reader_->take(input_.bytes()));
  const auto stage = reader_->stage();
  if (stage == RequestReader::Stage::head) return false;
  if (stage == RequestReader::Stage::fault) return refuse(reader_->status(), reader_->what()), false;
  if (before == RequestReader::Stage::head && !admit_head()) return false;
  if (held_.set(reader_->request().body.size()) > limits_.all_body_bytes)
    return refuse(503, "the server holds as many requests as it can"), false;
  if (stage == RequestReader::Stage::whole) return dispatch(), false;
  return before == RequestReader::Stage::head;
}

bool HttpConnection::admit_head() {
  ServerRequest& request = reader_->request();
  request.number = core_->next_number();
  request.peer = stream_->peer();
  request.tls = stream_->tls();
  first_request_ = false;
  if (refused_) return refuse(503, {}), false;
  if (core_->draining()) return refuse(503, "the server is shutting down"), false;
  const bool has_body = reader_->stage() == RequestReader::Stage::body;
  try {
    const auto refusal = core_->options().admit ? core_->options().admit(request) : std::nullopt;
    if (refusal) {
      head_ = head_of(request);
      answer(*refusal, reader_->keep_alive() && !has_body);
      return false;
    }
  } catch (const std::exception& e) {
    refuse(500, e.what());
    return false;
  }
  if (!has_body) return true;
  state_ = State::body;
  read_by_ = Clock::now() + limits_.body_time;
  if (reader_->expects_continue() && input_.bytes().empty()) {
    output_ = "HTTP/1.1 100 Continue\r\n\r\n";
    output_of_reply_ = false;
    write_on();
  }
  return true;
}

void HttpConnection::dispatch() {
  ServerRequest request = std::move(reader_->request());
  head_ = head_of(request);
  open_reply(reader_->keep_alive());
  if (client_ended_) channel_->client_gone();
  core_->handle(std::move(request), std::move(held_), channel_);
}

// ---- Replying

void HttpConnection::open_reply(bool keep_alive) {
  state_ = State::replying;
  read_by_ = kNever;
  set_busy(true);
  const ReplyChannel::Form form{.head_only = head_.method == "HEAD",
                                .http10 = reader_->is_http10(),
                                .keep_alive = keep_alive && !core_->draining(),
                                .unsent_bytes = limits_.unsent_bytes};
  channel_ = std::make_shared<ReplyChannel>(form, [self = shared_from_this()] {
    self->stream_->post([self] { self->on_strand([&] { self->flush(); }); });
  });
}

// Answers a request that cannot be, or is not to be, handled; the connection ends behind the answer.
void HttpConnection::refuse(int status, const std::string& what) {
  head_ = head_of(reader_->request());
  if (head_.number == 0) {
    head_.number = core_->next_number();
    head_.peer = stream_->peer();
    head_.tls = stream_->tls();
  }
  held_.set(0);
  if (refused_) return answer(core_->fault(503, "there are too many connections", head_), false);
  answer(core_->fault(status, what, head_), false);
}

void HttpConnection::answer(const ServerResponse& response, bool keep_alive) {
  open_reply(keep_alive);
  channel_->send(response);
}

void HttpConnection::flush() {
  if (channel_ && channel_->overflowed()) return close(true);
  if (writing_ || !channel_) return;
  ReplyChannel::Piece piece = channel_->take();
  if (piece.bytes.empty()) {
    if (piece.end != ReplyChannel::End::open) on_reply_end(piece.end);
    return;
  }
  output_ = std::move(piece.bytes);
  output_of_reply_ = true;
  write_on();
}

void HttpConnection::write_on() {
  writing_ = true;
  write_by_ = Clock::now() + limits_.write_time;
  const std::string_view rest = std::string_view(output_).substr(written_);
  stream_->write(rest, [self = shared_from_this()](StreamEnd end, size_t bytes) {
    self->on_strand([&] { self->on_written(end, bytes); });
  });
}

void HttpConnection::on_written(StreamEnd end, size_t bytes) {
  writing_ = false;
  if (end != StreamEnd::none) return close();
  if (output_of_reply_) channel_->sent(bytes);
  written_ += bytes;
  if (written_ < output_.size()) return write_on();
  output_ = {};
  written_ = 0;
  write_by_ = kNever;
  flush();
}

// All that the reply gave has been sent.
void HttpConnection::on_reply_end(ReplyChannel::End end) {
  const bool keep_alive = channel_->keep_alive();
  channel_->disconnect();
  if (end == ReplyChannel::End::abandoned)
    return answer(core_->fault(500, "the request was not answered", head_), keep_alive);
  if (end == ReplyChannel::End::aborted)
    return close(reader_->is_http10());  // where an end would look like the body's
  channel_.reset();
  set_busy(false);
  if (!keep_alive) return linger();
  expect_request();
  advance();
}

void HttpConnection::set_busy(bool busy) {
  if (busy_ == busy) return;
  busy_ = busy;
  core_->count_busy(busy ? 1 : -1);
}

// ---- Ending

void HttpConnection::on_drain() {
  if (state_ == State::greeting) return close();
  if (state_ == State::replying) return channel_->close_after();
  if (state_ == State::body || (state_ == State::head && head_begun_))
    return refuse(503, "the server is shutting down");
  if (state_ == State::head) linger();
}

// Closing a socket that has unread bytes, or gets some, resets the connection, and a client that still writes
// would find that instead of its answer. So it is told the end, and read from until it closes.
void HttpConnection::linger() {
  if (client_ended_) return close();
  state_ = State::lingering;
  linger_by_ = Clock::now() + limits_.body_time;  // what is left to come is a body, mostly
  read_by_ = Clock::now() + kLingerSilence;
  input_.remove(input_.bytes().size());
  stream_->end_writing();
  read_on();
}

void HttpConnection::close(bool with_error) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  if (with_error)
    stream_->reset();
  else
    stream_->close();
  if (channel_) channel_->disconnect();
  channel_.reset();
  held_.set(0);
  set_busy(false);
  core_->closed(shared_from_this());
}

// ---- Time

void HttpConnection::set_timer() {
  stream_->wake_at(
      std::min({read_by_, write_by_, linger_by_, look_at_, channel_ ? channel_->awake_at() : kNever}));
}

void HttpConnection::check_times() {
  const auto now = Clock::now();
  if (now >= write_by_) return close(true);
  if (now >= linger_by_) return close();
  if (now >= read_by_) return on_late();
  if (channel_) channel_->stay_awake(now);
  if (now < look_at_) return;
  const bool hung_up = stream_->hung_up();
  look_at_ = hung_up ? kNever : now + kLook;
  if (hung_up && channel_) channel_->client_gone();
}

void HttpConnection::on_late() {
  if (state_ == State::head && (head_begun_ || refused_))
    return refuse(408, "the header of the request did not come in time");
  if (state_ == State::body) return refuse(408, "the body of the request did not come in time");
  close();
}

}  // namespace minke
