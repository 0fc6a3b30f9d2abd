#pragma once
// Flags of `minke serve` beside those of the engine.

#include <optional>
#include <string>
#include <vector>

#include "cli/engine_flags.h"
#include "serve/state.h"

namespace minke {

// Of --log-level, and of the file of settings when it is read again.
inline const std::vector<std::string> kLogLevels = {"debug", "info", "warn", "error"};

struct ServeFlags {
  EngineFlags engine;
  std::string host = "127.0.0.1", unix_socket, certificate, key, api_keys, responses, config;
  std::string log_level = "info", log_file;
  uint16_t port = 6710;
  std::vector<std::string> aliases, allowed_hosts, origins;
  std::string pooling = "mean";
  std::string name;  // of the model; empty: the file's
  int parallel = 4, queue = 64, connections = 2048, drain = 30;
  int most_body = 32;  // MiB
  bool without_keys = false;
  std::string cache;    // a folder, or "off"; empty: the user's cache folder
  int cache_size = 16;  // GiB

  void add(CLI::App& command);
  // Throws Error naming the flag: a certificate without its key, listening beyond this machine without keys.
  void check() const;
  ServeOptions options() const;  // without the log
  std::optional<DiskOptions> disk() const;
};

}  // namespace minke
