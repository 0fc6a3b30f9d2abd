#include "hub/pull.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "hub/environment.h"

namespace minke {
namespace {

struct Flags {
  std::string name;
  bool json = false, quiet = false;
};

void show(Progress& bar, const PullProgress& p) {
  switch (p.phase) {
    case PullPhase::checking:
      return bar.say(fmt::format("checking what is there, {}", bytes_text(static_cast<int64_t>(p.bytes))));
    case PullPhase::waiting: return bar.say("another process fetches this file");
    case PullPhase::fetching:
    case PullPhase::done:
      bar.rename(fs::path(p.file).filename().string());
      return bar.show(static_cast<int64_t>(p.all_bytes), static_cast<int64_t>(p.all_total));
  }
}

void print_json(const ModelName& name, const PullResult& result) {
  JsonArray files;
  for (const std::string& file : result.files) files.push_back(file);
  Json json;
  json.set("name", name.text());
  json.set("path", result.path.string());
  json.set("commit", result.commit);
  if (!result.quant.empty()) json.set("quantisation", result.quant);
  json.set("files", std::move(files));
  json.set("bytes", result.bytes);
  json.set("fetched_bytes", result.fetched);
  fmt::print("{}\n", to_string(json));
}

int run(const Flags& flags) {
  const ModelName name = parse_model_name(flags.name);
  HubOptions options = hub_options(variable);
  const Interrupt interrupt(Interrupt::Second::ends);
  options.canceled = [&] { return interrupt.asked(); };
  PullResult result;
  try {
    Progress bar(name.repo, Progress::Unit::bytes);
    result = pull(options, name, [&](const PullProgress& p) {
      if (interrupt.asked()) throw Error("canceled", name.text());
      if (!flags.quiet) show(bar, p);
    });
  } catch (const Error&) {
    if (!interrupt.asked()) throw;
    fmt::print(stderr, "minke: stopped; `minke pull {}` goes on where this ended\n", name.text());
    return kExitInterrupted;
  }
  if (flags.json)
    print_json(name, result);
  else
    fmt::print("{}\n", result.path.string());
  return kExitOk;
}

}  // namespace

void add_pull(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("pull", "Fetch a model from the hub, and print its path");
  command.add_option("NAME", flags->name, "ORG/NAME[:QUANT|:FILE][@REVISION]")->required();
  command.add_flag("--json", flags->json, "Print path, commit, files and sizes as JSON");
  command.add_flag("-q,--quiet", flags->quiet, "No progress bar");
  command.footer(
      "Examples:\n  minke pull Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:Q4_K_M\n  minke pull "
      "deepseek-ai/DeepSeek-V2-Lite@main\n  minke run \"$(minke pull ORG/NAME)\" \"Hello\"\n"
      "A pull that was stopped goes on where it ended. HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and\n"
      "HF_HUB_OFFLINE mean what they mean to the hub's own tools.");
  command.callback([flags, &action] {
    if (!is_model_name(flags->name)) {
      try {
        parse_model_name(flags->name);
      } catch (const Error& e) {
        throw CLI::ValidationError("NAME", e.what());
      }
    }
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke
