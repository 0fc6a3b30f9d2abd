#include "engine/perplexity.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "plan/memory.h"
#include "text/tokenizer.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  std::string file, activations = "int8";
  int window = 2048;
  int64_t most = 0;
  bool json = false;
};

int run(const Flags& flags) {
  const Model model = flags.model.load();
  const Tokenizer tokenizer = load_tokenizer(model);
  std::vector<Token> tokens = tokenizer.encode(read_file(flags.file), Added::none);
  if (flags.most > 0 && static_cast<int64_t>(tokens.size()) > flags.most)
    tokens.resize(static_cast<size_t>(flags.most));
  InstanceOptions o;
  o.isa = flags.model.chosen_isa();
  o.round_activations = flags.activations == "int8";
  o.limits.threads = flags.model.threads;
  o.limits.kv = flags.model.kv_formats();
  o.limits.context = flags.window + 1;
  o.limits.logit_rows = 64;
  require_memory(model, o);
  Instance instance(model, o);
  const Token start = tokenizer.add_bos() ? tokenizer.bos().value_or(-1) : -1;
  const Perplexity p = [&] {
    Progress bar("tokens", Progress::Unit::count);
    return perplexity(instance, tokens, flags.window, start,
                      [&](int64_t done, int64_t all) { bar.show(done, all); });
  }();
  if (flags.json) {
    Json json;
    json.set("perplexity", p.value());
    json.set("nll", p.nll);
    json.set("nll_standard_error", p.error);
    json.set("tokens", p.predicted);
    json.set("window", flags.window);
    fmt::print("{}\n", to_string(json));
  } else {
    fmt::print("perplexity {:.4f} +- {:.4f}  (nll {:.5f}, {} tokens in windows of {})\n", p.value(),
               p.value() * p.error, p.nll, p.predicted, flags.window);
  }
  return kExitOk;
}

}  // namespace

void add_perplexity(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  flags->model.add_model(command);
  command.add_option("FILE", flags->file, "UTF-8 text")->required();
  command.add_option("--ctx", flags->window, "Tokens of a window")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str();
  command.add_option("--tokens", flags->most, "Stop after so many tokens of the text")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--activations", flags->activations, "int8 or f32")
      ->check(CLI::IsMember({"int8", "f32"}));
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
