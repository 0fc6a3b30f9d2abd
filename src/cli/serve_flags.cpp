#include "cli/serve_flags.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/environment.h"

namespace minke {
namespace {

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

void add_access(ServeFlags& f, CLI::App& command) {
  const auto access = "Access";
  command.add_option("--host", f.host, "Address to listen at")->capture_default_str()->group(access);
  command.add_option("--port", f.port, "Port to listen at; 0: any free one")
      ->capture_default_str()
      ->group(access);
  command.add_option("--unix-socket", f.unix_socket, "A Unix socket to listen at instead")->group(access);
  command.add_option("--tls-cert", f.certificate, "A certificate chain, PEM: https")->group(access);
  command.add_option("--tls-key", f.key, "Its private key, PEM")->group(access);
  command.add_option("--api-keys", f.api_keys, "A file of keys, each line NAME SHA256 [parallel=N]")
      ->group(access);
  command
      .add_flag("--without-keys", f.without_keys, "Let everyone in who reaches a --host beyond this machine")
      ->group(access);
  command.add_option("--allow-host", f.allowed_hosts, "A further name for the Host header (repeatable)")
      ->type_name("NAME")
      ->group(access);
  command.add_option("--cors-origin", f.origins, "An origin whose pages may ask (repeatable); *: all")
      ->type_name("ORIGIN")
      ->group(access);
}

void add_service(ServeFlags& f, CLI::App& command) {
  const auto service = "Service";
  command.add_option("--model-name", f.name, "What the model is called (default: its file's name)")
      ->group(service);
  command.add_option("--alias", f.aliases, "A further name it answers to (repeatable); *: any")
      ->type_name("NAME")
      ->group(service);
  command.add_option("--parallel", f.parallel, "Answers under way at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str()
      ->group(service);
  command.add_option("--queue", f.queue, "Requests that may wait; further ones are told to come back")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str()
      ->group(service);
  command.add_option("--connections", f.connections, "Connections at once")
      ->check(CLI::Range(1, 60000))
      ->capture_default_str()
      ->group(service);
  command.add_option("--max-body", f.most_body, "MiB of a request's body")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group(service);
  command.add_option("--drain", f.drain, "Seconds that answers under way have to end at SIGTERM")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str()
      ->group(service);
  command
      .add_option("--pooling", f.pooling, "Embeddings are the mean of all tokens' states, or the last one's")
      ->check(CLI::IsMember({"mean", "last"}))
      ->capture_default_str()
      ->group(service);
  command
      .add_option("--responses", f.responses,
                  "Where /v1/responses keeps answers, an SQLite file (default: in memory)")
      ->group(service);
  command
      .add_option(
          "--cache", f.cache,
          "Folder of cached pages, which outlive the server (default: minke/pages in the user's cache "
          "folder); off: none")
      ->group(service);
  command.add_option("--cache-size", f.cache_size, "GiB of that folder")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(service);
  command.add_option("--log-level", f.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember(kLogLevels))
      ->capture_default_str()
      ->group(service);
}

}  // namespace

void ServeFlags::add(CLI::App& command) {
  engine.add(command);
  command.get_option("MODEL")->required(false);  // it may stand in the file of settings
  command.add_option("--config", config, "A file with settings, TOML (.toml) or JSON: port = 8080");
  add_access(*this, command);
  add_service(*this, command);
}

void ServeFlags::check() const {
  if (engine.model.model.empty())
    throw CLI::RequiredError("MODEL is required", CLI::ExitCodes::RequiredError);
  engine.check();
  if (certificate.empty() != key.empty()) throw Error("--tls-cert and --tls-key go together", "--tls-cert");
  if (unix_socket.empty() && !is_loopback(host) && api_keys.empty() && !without_keys)
    throw Error(fmt::format("{} is reachable from other machines, and no key is asked for", host), "--host",
                "--api-keys FILE asks for keys, --without-keys lets everyone in");
}

std::optional<DiskOptions> ServeFlags::disk() const {
  if (cache == "off") return {};
  fs::path folder = cache;
  if (cache.empty()) {
    const auto base = variable("XDG_CACHE_HOME"), home = variable("HOME");
    if (!base && !home) return {};
    folder = (base ? fs::path(*base) : fs::path(*home) / ".cache") / "minke" / "pages";
  }
  DiskOptions o;
  o.folder = folder;
  o.budget = int64_t{cache_size} << 30;
  return o;
}

ServeOptions ServeFlags::options() const {
  ServeOptions o;
  o.listen.host = host;
  o.listen.port = port;
  o.listen.unix_socket = unix_socket;
  o.listen.certificate = certificate;
  o.listen.key = key;
  o.limits.connections = connections;
  o.limits.body_bytes = uint64_t(most_body) << 20;
  o.access.hosts = allowed_hosts;
  if (!is_loopback(host)) o.access.hosts.push_back(host);
  o.access.origins = origins;
  o.keys = api_keys;
  o.responses = responses;
  o.parallel = parallel;
  o.queue = queue;
  return o;
}

}  // namespace minke
