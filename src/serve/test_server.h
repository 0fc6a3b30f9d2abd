#pragma once
// For tests: a server over a scripted completer, and a client.

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "api/test_dialect.h"
#include "net/http_client.h"
#include "serve/server.h"

namespace minke {

// Starts a server at any free port; what it logs is kept.
class TestServer {
 public:
  explicit TestServer(ServeOptions options = {}, bool ready = true) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log_);
    options.log = std::make_shared<spdlog::logger>("test", sink);
    server_ = std::make_unique<Server>(std::move(options));
    if (ready) make_ready();
  }
  ~TestServer() { server_->stop(); }

  void make_ready() {
    server_->ready(script, [] { return EngineStats{}; });
  }
  Server& server() { return *server_; }
  uint16_t port() const { return server_->port(); }
  std::string log() const { return log_.str(); }
  std::string url(const std::string& path) const {
    return fmt::format("http://127.0.0.1:{}{}", server_->port(), path);
  }

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = {},
                   HttpHeaders headers = {}) const {
    HttpRequest request;
    request.method = method;
    request.url = url(path);
    request.headers = std::move(headers);
    if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
    request.body = body;
    return client_.request(request);
  }
  HttpResponse get(const std::string& path, HttpHeaders headers = {}) const {
    return ask("GET", path, {}, std::move(headers));
  }
  HttpResponse post(const std::string& path, const std::string& body, HttpHeaders headers = {}) const {
    return ask("POST", path, body, std::move(headers));
  }

  const std::shared_ptr<ScriptedCompleter> script = std::make_shared<ScriptedCompleter>();

 private:
  std::ostringstream log_;
  std::unique_ptr<Server> server_;
  HttpClient client_;
};

inline const std::string kChat = R"({"messages":[{"role":"user","content":"a secret prompt"}]})";
inline const std::string kStreamedChat =
    R"({"messages":[{"role":"user","content":"a secret prompt"}],"stream":true})";

// Waits, at most five seconds, for f to hold.
template <typename F>
bool soon(F f) {
  for (int i = 0; i < 500; ++i) {
    if (f()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace minke
