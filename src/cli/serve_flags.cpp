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

}  // namespace

void ServeFlags::add(CLI::App& command) {
  engine.add(command);
  command.get_option("MODEL")->required(false);  // it may stand in the file of settings
  command.add_option("--config", config,
                     "A JSON file with settings: {\"port\": 8080, \"api-keys\": \"keys\"}");
  const auto access = "Access";
  command.add_option("--host", host, "Address to listen at")->capture_default_str()->group(access);
  command.add_option("--port", port, "Port to listen at; 0: any free one")
      ->capture_default_str()
      ->group(access);
  command.add_option("--unix-socket", unix_socket, "A Unix socket to listen at instead")->group(access);
  command.add_option("--tls-cert", certificate, "A certificate chain, PEM: https")->group(access);
  command.add_option("--tls-key", key, "Its private key, PEM")->group(access);
  command.add_option("--api-keys", api_keys, "A file of keys, each line NAME SHA256 [parallel=N]")
      ->group(access);
  command
      .add_flag("--without-keys", without_keys, "Let everyone in who reaches a --host beyond this machine")
      ->group(access);
  command.add_option("--allow-host", allowed_hosts, "A further name for the Host header (repeatable)")
      ->type_name("NAME")
      ->group(access);
  command.add_option("--cors-origin", origins, "An origin whose pages may ask (repeatable); *: all")
      ->type_name("ORIGIN")
      ->group(access);
  const auto service = "Service";
  command.add_option("--model-name", name, "What the model is called (default: its file's name)")
      ->group(service);
  command.add_option("--alias", aliases, "A further name it answers to (repeatable); *: any")
      ->type_name("NAME")
      ->group(service);
  command.add_option("--parallel", parallel, "Answers under way at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str()
      ->group(service);
  command.add_option("--queue", queue, "Requests that may wait; further ones are told to come back")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str()
      ->group(service);
  command.add_option("--connections", connections, "Connections at once")
      ->check(CLI::Range(1, 60000))
      ->capture_default_str()
      ->group(service);
  command.add_option("--max-body", most_body, "MiB of a request's body")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group(service);
  command.add_option("--drain", drain, "Seconds that answers under way have to end at SIGTERM")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str()
      ->group(service);
  command
      .add_option("--responses", responses,
                  "Where /v1/responses keeps answers, an SQLite file (default: in memory)")
      ->group(service);
  command
      .add_option(
          "--cache", cache,
          "Folder of cached pages, which outlive the server (default: minke/pages in the user's cache "
          "folder); off: none")
      ->group(service);
  command.add_option("--cache-size", cache_size, "GiB of that folder")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(service);
  command.add_option("--log-level", log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str()
      ->group(service);
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
