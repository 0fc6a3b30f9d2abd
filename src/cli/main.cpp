// minke: the program. Errors go to stderr as "minke: what, and what would help"; exit codes are 0, 1
// (failed), 2 (usage), 130.

#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"

int main(int argc, char** argv) {
  CLI::App app("Minke runs DeepSeek, Llama and Qwen language models on CPUs.", "minke");
  app.require_subcommand(1);
  minke::Action action;
  minke::add_bench(app, action);
  minke::add_chat(app, action);
  minke::add_inspect(app, action);
  minke::add_perplexity(app, action);
  minke::add_render(app, action);
  minke::add_run(app, action);
  minke::add_verify(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? minke::kExitOk : minke::kExitUsage;
  }
  try {
    return action();
  } catch (const std::exception& e) {
    fmt::print(stderr, "minke: {}\n", e.what());
    return minke::kExitFailed;
  }
}
