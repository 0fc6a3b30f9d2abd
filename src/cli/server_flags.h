#pragma once
// Flags of commands that can ask a server instead of a model of their own.

#include <optional>
#include <string>
#include <vector>

#include "api/server_client.h"
#include "cli/engine_flags.h"
#include "cli/sampling_flags.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace minke {

struct ServerFlags {
  std::string url, key, model;

  // Adds --server, --api-key and --model; MODEL is then no longer required. Called behind EngineFlags::add,
  // whose flags are the server's to decide.
  void add(CLI::App& command);
  bool given() const { return !url.empty(); }
  // Throws Error naming a flag that has no meaning with --server, or without it; CLI's where MODEL is
  // missing.
  void check(const EngineFlags& engine) const;

  ServerClient client() const;  // the key from MINKE_API_KEY where no flag gives one
  // --model, or what the server has; throws Error naming what it has where it has not this one.
  std::string chosen_model(const ServerClient& client) const;

 private:
  std::vector<const CLI::Option*> engine_options_;
};

// A request for the server: only what a flag says, the rest is the server's.
Json server_request(const std::string& model, const SamplingFlags& sampling);
// The same with a conversation.
Json chat_request(const std::string& model, const SamplingFlags& sampling, const ChatPrompt& prompt);
// "[12 tokens, 35.1 tok/s; prompt 34 tokens, 20 cached, 0.41 s]"
std::string timing_line(const ServerAnswer& answer);

}  // namespace minke
