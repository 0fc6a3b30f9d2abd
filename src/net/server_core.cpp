#include "net/server_core.h"

#include <algorithm>

#include "base/error.h"
#include "net/http_connection.h"
#include "net/server_reply.h"

namespace minke {
namespace {

// Connections beyond the limit that are told so; those beyond these are closed without a word.
constexpr size_t kRefusedAtOnce = 64;

}  // namespace

ServerCore::ServerCore(HttpServerOptions options) : options_(std::move(options)) {
  MINKE_CHECK(options_.handle && options_.limits.handlers > 0 && options_.limits.connections > 0);
  for (int i = 0; i < options_.limits.handlers; ++i) handlers_.emplace_back([this] { run_handlers(); });
}

ServerCore::~ServerCore() { stop(); }

ServerResponse ServerCore::fault(int status, const std::string& what, const ServerRequest& head) const {
  try {
    if (options_.fault) return options_.fault(status, what, head);
  } catch (...) {  // the answer below says what went wrong first
  }
  return {.status = status, .headers = {{"Content-Type", "text/plain; charset=utf-8"}}, .body = what + "\n"};
}

void ServerCore::accept(std::shared_ptr<ServerStream> stream) {
  std::shared_ptr<HttpConnection> connection;
  {
    const std::lock_guard lock(mutex_);
    const auto limit = static_cast<size_t>(options_.limits.connections);
    if (stopping_ || draining_ || connections_.size() >= limit + kRefusedAtOnce) return stream->close();
    connection =
        std::make_shared<HttpConnection>(shared_from_this(), std::move(stream), connections_.size() >= limit);
    connections_.insert(connection);
  }
  connection->start();
}

void ServerCore::closed(const std::shared_ptr<HttpConnection>& connection) {
  const std::lock_guard lock(mutex_);
  connections_.erase(connection);
}

int ServerCore::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(connections_.size());
}

std::vector<std::shared_ptr<HttpConnection>> ServerCore::all_connections() const {
  const std::lock_guard lock(mutex_);
  return {connections_.begin(), connections_.end()};
}

void ServerCore::handle(ServerRequest request, BodyBytes held, std::shared_ptr<ReplyChannel> channel) {
  Job job{std::move(request), std::move(held), std::move(channel)};
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) jobs_.push_back(std::move(job));
  }
  queued_.notify_one();
}

void ServerCore::run_handlers() {
  std::unique_lock lock(mutex_);
  for (;;) {
    queued_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    std::optional<Job> job(std::move(jobs_.front()));
    jobs_.pop_front();
    lock.unlock();
    run(*job);
    job.reset();  // the body is given back before the next request is waited for
    lock.lock();
  }
}

void ServerCore::run(const Job& job) {
  const std::shared_ptr<ServerReply> reply = make_reply(job.channel);
  std::string what;
  try {
    return options_.handle(job.request, reply);
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
    what = "an unknown failure";
  }
  try {
    job.channel->fail(fault(500, what, job.request));
  } catch (const std::exception&) {
    job.channel->abort();
  }
}

void ServerCore::count_busy(int change) {
  const std::lock_guard lock(mutex_);
  busy_ += change;
  if (busy_ == 0) changed_.notify_all();
}

bool ServerCore::drain(std::chrono::milliseconds longest) {
  draining_ = true;
  for (const auto& connection : all_connections()) {
    count_busy(1);
    connection->drain();  // which counts down again
  }
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, longest, [&] { return busy_ == 0; });
}

void ServerCore::stop() {
  std::deque<Job> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  queued_.notify_all();
  for (const auto& connection : all_connections()) connection->end();
  dropped.clear();
  for (std::thread& thread : handlers_)
    if (thread.joinable()) thread.join();
}

}  // namespace minke
