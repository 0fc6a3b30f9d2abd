#include "net/server_reply.h"

#include <utility>

#include "base/error.h"
#include "net/response_text.h"

namespace minke {
namespace {

// Runs what waits for the client's going; what it throws has nobody to go to.
void run(const std::function<void()>& f) {
  try {
    f();
  } catch (...) {
  }
}

class Reply final : public ServerReply {
 public:
  explicit Reply(std::shared_ptr<ReplyChannel> channel) : channel_(std::move(channel)) {}
  ~Reply() override { channel_->abandon(); }

  void send(ServerResponse response) override { channel_->send(response); }
  void start(int status, HttpHeaders headers) override { channel_->start(status, headers); }
  void write(std::string_view bytes) override { channel_->write(bytes); }
  void keep_awake(std::string comment, std::chrono::milliseconds silence) override {
    channel_->keep_awake(std::move(comment), silence);
  }
  void finish() override { channel_->finish(); }
  void abort() override { channel_->abort(); }
  bool gone() const override { return channel_->gone(); }
  void on_gone(std::function<void()> f) override { channel_->on_gone(std::move(f)); }

 private:
  std::shared_ptr<ReplyChannel> channel_;
};

}  // namespace

ReplyChannel::ReplyChannel(Form form, std::function<void()> wake)
    : form_(form), wake_(std::move(wake)), last_(Clock::now()) {}

void ReplyChannel::send(const ServerResponse& response) {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ == End::open) send_whole(response, dropped);
}

void ReplyChannel::fail(const ServerResponse& response) {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ != End::open) return;
  if (begun_) return end(End::aborted, dropped);
  send_whole(response, dropped);
}

void ReplyChannel::send_whole(const ServerResponse& response, Callbacks& dropped) {
  begin(response.status, response.headers, true, response.body.size());
  if (!bodiless_) queue(response.body);
  end(End::whole, dropped);
}

void ReplyChannel::start(int status, const HttpHeaders& headers) {
  const std::lock_guard lock(mutex_);
  if (end_ != End::open) return;
  begin(status, headers, false, 0);
  wake();
}

// A response that is whole, or is one of those that have no body, has a length (or needs none); others end
// with a last chunk or, for a client that knows no chunks, with the connection.
void ReplyChannel::begin(int status, const HttpHeaders& headers, bool whole, size_t length) {
  MINKE_CHECK(!begun_, "a reply is begun twice");
  ResponseFrame frame{
      .status = status, .length = length, .keep_alive = form_.keep_alive, .http10 = form_.http10};
  frame.end = has_no_body(status) ? BodyEnd::none
              : whole             ? BodyEnd::length
              : form_.http10      ? BodyEnd::close
                                  : BodyEnd::chunked;
  queued_ += response_head(frame, headers);
  begun_ = true;
  bodiless_ = form_.head_only || frame.end == BodyEnd::none;
  chunked_ = frame.end == BodyEnd::chunked;
  if (frame.end == BodyEnd::close) form_.keep_alive = false;
  last_ = Clock::now();
}

void ReplyChannel::write(std::string_view bytes) {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ != End::open) return;
  MINKE_CHECK(begun_, "a reply is written to before its start");
  if (bytes.empty() || bodiless_) return;
  if (queued_.size() + taken_ > form_.unsent_bytes) return end(End::overflow, dropped);
  queue(bytes);
  wake();
}

void ReplyChannel::queue(std::string_view bytes) {
  if (chunked_)
    append_chunk(queued_, bytes);
  else
    queued_ += bytes;
  last_ = Clock::now();
}

void ReplyChannel::keep_awake(std::string comment, std::chrono::milliseconds silence) {
  const std::lock_guard lock(mutex_);
  if (end_ != End::open) return;
  comment_ = std::move(comment);
  silence_ = silence;
  wake();
}

void ReplyChannel::finish() {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ != End::open) return;
  MINKE_CHECK(begun_, "a reply is finished before its start");
  if (chunked_ && !bodiless_) queued_ += kLastChunk;
  end(End::whole, dropped);
}

void ReplyChannel::abort() {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ == End::open) end(End::aborted, dropped);
}

void ReplyChannel::abandon() {
  Callbacks dropped;
  const std::lock_guard lock(mutex_);
  if (end_ == End::open) end(begun_ ? End::aborted : End::abandoned, dropped);
}

// What waited for the client's going is dropped; outside the lock, since it may hold the reply itself.
void ReplyChannel::end(End how, Callbacks& dropped) {
  end_ = how;
  if (how != End::overflow) dropped.swap(when_gone_);
  woken_ = false;  // the connection may be waiting for a slow write: it must hear of an end all the same
  wake();
}

bool ReplyChannel::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

void ReplyChannel::on_gone(std::function<void()> f) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      if (end_ == End::open) when_gone_.push_back(std::move(f));
      return;
    }
  }
  run(f);
}

void ReplyChannel::wake() {
  if (woken_ || !wake_) return;
  woken_ = true;
  wake_();
}

ReplyChannel::Piece ReplyChannel::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  taken_ += queued_.size();
  return {std::exchange(queued_, {}), end_};
}

bool ReplyChannel::overflowed() const {
  const std::lock_guard lock(mutex_);
  return end_ == End::overflow;
}

void ReplyChannel::sent(size_t bytes) {
  const std::lock_guard lock(mutex_);
  taken_ -= bytes;
}

void ReplyChannel::close_after() {
  const std::lock_guard lock(mutex_);
  form_.keep_alive = false;
}

bool ReplyChannel::keep_alive() const {
  const std::lock_guard lock(mutex_);
  return form_.keep_alive;
}

ReplyChannel::Clock::time_point ReplyChannel::awake_at() const {
  const std::lock_guard lock(mutex_);
  return silence_.count() == 0 || end_ != End::open ? Clock::time_point::max() : last_ + silence_;
}

void ReplyChannel::stay_awake(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (silence_.count() == 0 || end_ != End::open || now < last_ + silence_) return;
  last_ = now;  // bytes that still wait to be sent keep the client awake as well
  if (!begun_ || bodiless_ || queued_.size() + taken_ > 0) return;
  queue(comment_);
  wake();
}

void ReplyChannel::client_gone() {
  Callbacks told;
  {
    const std::lock_guard lock(mutex_);
    if (end_ != End::open && end_ != End::overflow) return;
    gone_ = true;
    told.swap(when_gone_);
  }
  for (const auto& f : told) run(f);
}

void ReplyChannel::disconnect() {
  client_gone();
  const std::lock_guard lock(mutex_);
  if (end_ == End::open) end_ = End::aborted;
  wake_ = nullptr;
}

std::shared_ptr<ServerReply> make_reply(std::shared_ptr<ReplyChannel> channel) {
  return std::make_shared<Reply>(std::move(channel));
}

}  // namespace minke
