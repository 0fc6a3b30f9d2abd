#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "api/local_completer.h"
#include "api/openai.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/serve_flags.h"
#include "cli/settings.h"
#include "cli/settings_file.h"
#include "cli/signals.h"
#include "plan/memory.h"
#include "serve/answer_store.h"
#include "serve/server.h"
#include "text/utf8.h"

namespace minke {
namespace {

std::string model_name(const ServeFlags& flags) {
  if (!flags.name.empty()) return flags.name;
  fs::path path = flags.engine.model.path();
  if (!path.has_filename()) path = path.parent_path();  // a folder
  return mend_utf8(path.extension() == ".gguf" ? path.stem().string() : path.filename().string());
}

// The context is each request's own; the engine's is that of all together.
EngineOptions options_of(const ServeFlags& flags, const Model& model) {
  EngineOptions o = engine_options(model, flags.engine);
  o.disk = flags.disk();
  o.instance.limits.sequences = flags.parallel;
  if (o.instance.limits.context > INT32_MAX / flags.parallel)
    throw Error(
        fmt::format("{} requests of {} tokens are too much", flags.parallel, o.instance.limits.context),
        "--parallel");
  o.instance.limits.context *= flags.parallel;
  require_memory(model, o.for_instance());
  return o;
}

// Model, engine and completer, loaded on a thread of their own while the port listens already.
class Service {
 public:
  explicit Service(const ServeFlags& flags) : flags_(flags) {}

  // On the loading thread. Throws Error.
  std::shared_ptr<Completer> load() {
    loaded_ = std::make_unique<Loaded>(flags_.engine);
    const Model& model = loaded_->model;
    const Tokenizer& tokenizer = loaded_->tokenizer;
    LocalCompleterOptions options;
    options.card = {model_name(flags_), flags_.aliases, unix_time(),
                    engine_options(model, flags_.engine).instance.limits.context, model.config.dim};
    options.pooling = flags_.pooling == "last" ? Pooling::last : Pooling::mean;
    options.kwargs = template_kwargs(flags_.engine);
    options.advised = advised_sampling(model, chat_template_of(model, tokenizer));
    ChatFormat chat = chat_format(*loaded_, flags_.engine);
    const EngineOptions engine = options_of(flags_, model);
    engine_ = std::make_unique<Engine>(model, tokenizer, engine);
    options.keeper =
        std::make_shared<AnswerStore>(engine.disk ? engine.disk->folder / "answers.db" : fs::path());
    return completer_ =
               std::make_shared<LocalCompleter>(*engine_, tokenizer, std::move(chat), std::move(options));
  }

  EngineStats stats() const { return engine_->stats(); }
  // Ends all requests; the completer hears of each.
  void stop() { engine_.reset(); }

 private:
  const ServeFlags& flags_;
  std::unique_ptr<Loaded> loaded_;
  std::shared_ptr<LocalCompleter> completer_;
  std::unique_ptr<Engine> engine_;
};

std::string address(const ServeFlags& flags, uint16_t port) {
  if (!flags.unix_socket.empty()) return flags.unix_socket;
  const bool v6 = flags.host.find(':') != flags.host.npos && !flags.host.starts_with('[');
  return fmt::format("{}://{}:{}", flags.certificate.empty() ? "http" : "https",
                     v6 ? "[" + flags.host + "]" : flags.host, port);
}

// What the file of settings says of it now; none where it says nothing. Throws Error.
std::optional<std::string> log_level_in(const std::string& file) {
  if (file.empty()) return {};
  const Json settings = read_settings_file(file);
  const Json* level = settings.find("log-level");
  if (!level) return {};
  if (!level->is_string() || std::ranges::find(kLogLevels, level->as_string()) == kLogLevels.end())
    throw Error(fmt::format("'log-level' is none of {}", fmt::join(kLogLevels, ", ")), file);
  return level->as_string();
}

void reload(Server& server, spdlog::logger& log, const ServeFlags& flags) {
  try {
    const std::optional<std::string> level = log_level_in(flags.config);
    server.reload_keys();
    if (level) log.set_level(spdlog::level::from_str(*level));
    log.warn("keys and log level were read again");
  } catch (const Error& e) {
    log.error("they stay as they were: {}", e.what());
  }
}

int serve(const ServeFlags& flags, const std::vector<Setting>& settings) {
  flags.engine.model.path();  // throws where there is no such model
  Signals signals;
  auto log = spdlog::stderr_logger_mt("serve");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  log->set_level(spdlog::level::from_str(flags.log_level));
  ServeOptions options = flags.options();
  options.log = log;
  Service service(flags);
  Server server(std::move(options));
  for (const Setting& s : settings)
    if (!s.value.empty() && s.value != "{}") log->info("{} = {} ({})", s.flag, s.value, s.source);
  fmt::print("minke: listening at {}\n", address(flags, server.port()));
  std::fflush(stdout);

  std::atomic<int> state = 0;  // of loading: 1 done, -1 failed
  std::exception_ptr failure;
  std::thread loading([&] {
    try {
      server.ready(service.load(), [&] { return service.stats(); });
      log->info("the model is there");
      state = 1;
    } catch (...) {
      failure = std::current_exception();
      state = -1;
    }
  });
  for (;;) {
    const Signal signal = signals.wait(std::chrono::milliseconds(200));
    if (state < 0) break;
    if (signal == Signal::reload) reload(server, *log, flags);
    if (signal == Signal::end && state == 0) {  // nothing is lost, and loading cannot be stopped
      log->flush();
      std::_Exit(kExitOk);
    }
    if (signal == Signal::end) break;
  }
  loading.join();
  if (failure) std::rethrow_exception(failure);
  log->info("ending: answers under way have {} s", flags.drain);
  std::atomic<bool> drained = false;
  std::thread second([&] {  // a second signal ends at once
    while (!drained)
      if (signals.wait(std::chrono::milliseconds(100)) == Signal::end) std::_Exit(kExitInterrupted);
  });
  const bool whole = server.drain(std::chrono::seconds(flags.drain));
  server.stop();
  service.stop();
  drained = true;
  second.join();
  log->info(whole ? "ended" : "ended; some answers were cut off");
  return kExitOk;
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App& command = *app.add_subcommand("serve", "Serve a model over HTTP, as OpenAI and Anthropic do");
  flags->add(command);
  command.footer(
      "Each setting can be given as MINKE_NAME in the environment as well, or as \"name\" in the file of "
      "--config; "
      "a flag goes first,\nthe environment second.\n"
      "Examples:\n  minke serve model.gguf\n"
      "  minke serve model.gguf --ctx 16384 --parallel 8 --alias gpt-4o\n"
      "  minke serve model.gguf --host 0.0.0.0 --api-keys keys --tls-cert cert.pem --tls-key key.pem\n"
      "  curl http://127.0.0.1:6710/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", "
      "\"content\": "
      "\"Hello\"}]}'");
  command.callback([flags, &command, &action] {
    if (flags->config.empty()) flags->config = variable("MINKE_CONFIG").value_or("");
    const Json file = flags->config.empty() ? Json() : read_settings_file(flags->config);
    const std::vector<Setting> settings = take_settings(command, file);
    flags->check();
    action = [flags, settings] { return serve(*flags, settings); };
  });
}

}  // namespace minke
