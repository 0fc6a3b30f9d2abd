#pragma once
// What all requests to the server share.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "api/completion.h"
#include "engine/engine.h"
#include "serve/access.h"
#include "serve/metrics.h"
#include "serve/response_store.h"
#include "serve/router.h"

namespace spdlog {
class logger;
}

namespace minke {

struct ServeOptions {
  HttpListen listen;
  HttpServerLimits limits;
  AccessOptions access;
  fs::path keys;       // a file, see keys.h; empty: no key is asked for
  fs::path responses;  // where answers of /v1/responses are kept, an SQLite file; empty: in memory
  int parallel = 4;    // requests that are answered at once
  int queue = 64;      // that may wait beside them; more are told to come back
  std::shared_ptr<spdlog::logger> log;
};

struct ServeState {
  explicit ServeState(ServeOptions o) : options(std::move(o)), keys(options.keys), store(options.responses) {}

  const ServeOptions options;
  KeyRing keys;
  Metrics metrics;
  ResponseStore store;
  Router router;

  // A place for a request of this key's owner, or why there is none.
  std::optional<Fault> take_place(const std::optional<ApiKey>& key);
  void give_place(const std::optional<ApiKey>& key);

  void set_completer(std::shared_ptr<Completer> completer, std::function<EngineStats()> stats);
  std::shared_ptr<Completer> completer() const;  // null while loading
  std::optional<EngineStats> engine_stats() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Completer> completer_;
  std::function<EngineStats()> stats_;
  int places_ = 0;
  std::map<std::string, int> places_of_;  // by the names of keys
};

}  // namespace minke
