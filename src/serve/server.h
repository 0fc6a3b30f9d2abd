#pragma once
// The server: routes over a completer that may come later than the first request.

#include <chrono>
#include <functional>
#include <memory>

#include "api/completion.h"
#include "serve/state.h"

namespace minke {

class Server {
 public:
  // Listens from here on; all but /health and what needs no model is refused with 503. Throws Error: no such
  // host, port taken, a bad file of keys.
  explicit Server(ServeOptions options);
  ~Server();

  uint16_t port() const;  // 0 on a Unix socket
  const Router& router() const;
  // The model is there. `stats` is asked for /metrics.
  void ready(std::shared_ptr<Completer> completer, std::function<EngineStats()> stats);
  void reload_keys();  // throws Error, and the keys stay as they were
  // No new requests; waits for those under way, at most that long. True where all ended.
  bool drain(std::chrono::milliseconds longest);
  // Ends all connections. Afterwards no handler runs; the engine may end.
  void stop();

 private:
  std::shared_ptr<ServeState> state_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace minke
