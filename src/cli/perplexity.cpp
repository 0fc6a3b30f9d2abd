#include "engine/perplexity.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/text_flags.h"
#include "plan/memory.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  TextFlags text;
  bool json = false;
};

int run(const Flags& flags) {
  const Model model = flags.model.load();
  const Tokenizer tokenizer = load_tokenizer(model);
  const std::vector<Token> tokens = flags.text.tokens(tokenizer);
  const InstanceOptions options = flags.text.options(flags.model);
  require_memory(model, options);
  Instance instance(model, options);
  const Perplexity p = [&] {
    Progress bar("tokens", Progress::Unit::count);
    return perplexity(instance, tokens, flags.text.window, window_start(tokenizer),
                      [&](int64_t done, int64_t all) { bar.show(done, all); });
  }();
  if (flags.json) {
    Json json;
    json.set("perplexity", p.value());
    json.set("nll", p.nll);
    json.set("nll_standard_error", p.error);
    json.set("tokens", p.predicted);
    json.set("window", flags.text.window);
    fmt::print("{}\n", to_string(json));
  } else {
    fmt::print("perplexity {:.4f} +- {:.4f}  (nll {:.5f}, {} tokens in windows of {})\n", p.value(),
               p.value() * p.error, p.nll, p.predicted, flags.text.window);
  }
  return kExitOk;
}

}  // namespace

void add_perplexity(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  flags->model.add_model(command);
  flags->model.add_adapters(command);
  flags->text.add_file(command);
  flags->text.add(command);
  flags->model.add_kv(command);
  flags->model.add_machine(command);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke perplexity model.gguf text.txt\n  minke perplexity model.gguf text.txt --ctx 512 "
      "--activations f32");
  command.callback([flags, &action] {
    flags->model.chosen_isa();
    flags->model.kv_formats();
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke
