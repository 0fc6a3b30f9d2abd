#pragma once
// For tests: a server whose handlers are written in the test, and what they have seen.

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "net/http_probe.h"
#include "net/http_server.h"

namespace minke {

using Reply = std::shared_ptr<ServerReply>;

// What becomes true on another thread.
class Flag {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    at_ = std::chrono::steady_clock::now();
    set_ = true;
    changed_.notify_all();
  }
  bool wait(std::chrono::milliseconds longest = std::chrono::milliseconds(20'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, longest, [&] { return set_; });
  }
  std::chrono::steady_clock::time_point at() const { return at_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
  std::chrono::steady_clock::time_point at_;
};

inline bool eventually(const std::function<bool()>& holds,
                       std::chrono::milliseconds longest = std::chrono::milliseconds(20'000)) {
  const auto until = std::chrono::steady_clock::now() + longest;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline size_t open_files() {
  size_t n = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) n += !entry.path().empty();
  return n;
}

inline size_t running_threads() {
  size_t n = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/task")) n += !entry.path().empty();
  return n;
}

inline double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Answers "METHOD path?query body" unless the test says otherwise.
inline void echo(const ServerRequest& request, const Reply& reply) {
  reply->send(
      {.status = 200,
       .headers = {{"Content-Type", "text/plain"}},
       .body = fmt::format("{} {}?{} {}", request.method, request.path, request.query, request.body)});
}

inline HttpServerOptions serving(std::function<void(const ServerRequest&, Reply)> handle = echo) {
  HttpServerOptions options;
  options.handle = std::move(handle);
  return options;
}

inline std::string request_text(std::string_view method, std::string_view target, std::string_view body = "",
                                std::string_view fields = "") {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n{}", method, target, fields);
  if (!body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
  return text + "\r\n" + std::string(body);
}

}  // namespace minke
