#pragma once
// What the connections of a server share: its options, its counts, and the threads that run handlers.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "net/http_server.h"
#include "net/server_stream.h"

namespace minke {

class HttpConnection;
class ReplyChannel;

// Bytes of request bodies in memory, counted as long as the object lives.
class BodyBytes {
 public:
  explicit BodyBytes(std::atomic<uint64_t>& all) : all_(&all) {}
  BodyBytes(BodyBytes&& other) noexcept : all_(other.all_), own_(std::exchange(other.own_, 0)) {}
  BodyBytes& operator=(BodyBytes&& other) noexcept {
    set(0);
    own_ = std::exchange(other.own_, 0);
    return *this;
  }
  ~BodyBytes() { set(0); }
  uint64_t set(uint64_t bytes) {  // returns those of all
    const uint64_t before = std::exchange(own_, bytes);
    return all_->fetch_add(bytes - before) + bytes - before;
  }

 private:
  std::atomic<uint64_t>* all_;
  uint64_t own_ = 0;
};

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  explicit ServerCore(HttpServerOptions options);
  ~ServerCore();

  const HttpServerOptions& options() const { return options_; }
  uint64_t next_number() { return ++requests_; }
  std::atomic<uint64_t>& body_bytes() { return body_bytes_; }
  bool draining() const { return draining_; }

  // options.fault, or plain text where there is none, or where it fails.
  ServerResponse fault(int status, const std::string& what, const ServerRequest& head) const;

  void accept(std::shared_ptr<ServerStream> stream);
  void closed(const std::shared_ptr<HttpConnection>& connection);
  int connections() const;
  std::vector<std::shared_ptr<HttpConnection>> all_connections() const;

  // Runs the handler on one of its threads.
  void handle(ServerRequest request, BodyBytes held, std::shared_ptr<ReplyChannel> channel);

  // Replies under way, and connections that have not heard of the drain.
  void count_busy(int change);
  bool drain(std::chrono::milliseconds longest);

  // No new connections; those there are closed, what waits for a handler is dropped. Returns when no handler
  // runs.
  void stop();

 private:
  struct Job {
    ServerRequest request;
    BodyBytes held;
    std::shared_ptr<ReplyChannel> channel;
  };
  void run_handlers();
  void run(const Job& job);

  const HttpServerOptions options_;
  std::atomic<uint64_t> requests_ = 0, body_bytes_ = 0;
  std::atomic<bool> draining_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_, queued_;
  std::unordered_set<std::shared_ptr<HttpConnection>> connections_;
  int busy_ = 0;
  bool stopping_ = false;
  std::deque<Job> jobs_;
  std::vector<std::thread> handlers_;
};

}  // namespace minke
