// minke: the program. Errors go to stderr as "minke: what, and what would help"; exit codes are 0, 1
// (failed), 2 (usage), 130 (Ctrl-C).

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/bus_error.h"
#include "cli/command.h"
#include "cli/interrupt.h"

namespace minke {
namespace {

constexpr const char* kNoModel =
    "a .gguf file, a Hugging Face folder, or a name; `minke pull ORG/NAME` fetches a model, `minke models` "
    "lists what is here";

// Help and version go to stdout, everything else is a mistake in the command line.
int end_of_parsing(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App* command = &app;
  std::string called = "minke";
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    called += " " + command->get_name();
  }
  if (e.get_exit_code() == 0) return app.exit(e);
  std::string what = e.what();
  if (command == &app && what == "A subcommand is required") {
    const std::vector<std::string> rest = app.remaining();
    what = rest.empty() ? "which command?" : fmt::format("there is no command '{}'", rest.front());
  }
  if (what == "MODEL is required") what += fmt::format(" ({})", kNoModel);
  fmt::print(stderr, "minke: {}\n`{} --help` shows how it is used.\n", what, called);
  return kExitUsage;
}

// An error about a flag is a mistake in the command line; its subject is the flag.
int failed(const Error& e) {
  fmt::print(stderr, "minke: {}\n", e.what());
  return e.subject().starts_with("--") ? kExitUsage : kExitFailed;
}

int failed(const char* what) {
  fmt::print(stderr, "minke: {}\n", what);
  return kExitFailed;
}

int parse_and_act(CLI::App& app, const Action& action, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    const int code = action();
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw Error(std::strerror(errno), "standard output");
    return code;
  } catch (const CLI::ParseError& e) {
    return end_of_parsing(app, e);
  } catch (const Error& e) {
    return failed(e);
  } catch (const std::bad_alloc&) {
    return failed("out of memory (a smaller --ctx or --ubatch needs less)");
  } catch (const std::exception& e) {
    return failed(e.what());
  }
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `minke ... | head -1` ends here without a word
  exit_on_interrupt();
  explain_bus_errors();
  CLI::App app("Minke runs DeepSeek, Llama and Qwen language models on CPUs.", "minke");
  app.set_version_flag("--version", "minke " MINKE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n  minke pull Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:Q4_K_M\n  minke chat "
      "Qwen2.5-Coder-1.5B-Instruct-GGUF\n  minke run model.gguf \"What is the capital of France?\"\n"
      "`minke COMMAND --help` says more of each.");
  Action action;
  add_run(app, action);
  add_chat(app, action);
  add_pull(app, action);
  add_models(app, action);
  add_inspect(app, action);
  add_tokenize(app, action);
  add_render(app, action);
  add_perplexity(app, action);
  add_bench(app, action);
  add_verify(app, action);
  add_convert(app, action);
  add_quantize(app, action);
  add_serve(app, action);
  add_imatrix(app, action);
  add_kl(app, action);
  add_tokenizer(app, action);
  add_data(app, action);
  add_train(app, action);
  return parse_and_act(app, action, argc, argv);
}

}  // namespace
}  // namespace minke

int main(int argc, char** argv) { return minke::run(argc, argv); }
