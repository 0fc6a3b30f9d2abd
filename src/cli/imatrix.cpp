#include <algorithm>
#include <chrono>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/text_flags.h"
#include "engine/importance.h"
#include "plan/memory.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  TextFlags text;
  std::string out;
  bool force = false, json = false;
};

// What would only be found out at the end otherwise.
void check_target(const Flags& flags) {
  const fs::path out = flags.out;
  const fs::path folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  std::error_code ec;
  if (!fs::is_directory(folder, ec)) throw Error("is no folder", folder.string());
  if (fs::is_directory(out, ec)) throw Error("is a folder", flags.out, "name a file in it");
  if (!flags.force && fs::exists(fs::symlink_status(out, ec)))
    throw Error("is there already", flags.out, "--force writes over it");
}

// Stacks of which some matrices met nothing: experts that the text never chose.
struct Unmet {
  int64_t matrices = 0, of = 0;
};

Unmet unmet_in(const ImportanceMatrix& matrix) {
  Unmet unmet;
  for (const auto& [name, importance] : matrix.tensors) {
    if (!name.ends_with("_exps.weight")) continue;
    unmet.of += static_cast<int64_t>(importance.counts.size());
    unmet.matrices += std::ranges::count(importance.counts, 0.0f);
  }
  return unmet;
}

void print(const Flags& flags, const ImportanceMatrix& matrix, int64_t tokens, double seconds) {
  const Unmet unmet = unmet_in(matrix);
  if (!flags.json) {
    fmt::print("{} tensors from {} tokens in {} windows of {}, {:.1f} s: {}\n", matrix.tensors.size(), tokens,
               matrix.chunks, matrix.chunk_tokens, seconds, flags.out);
    if (unmet.matrices > 0)
      fmt::print("{} of {} matrices of experts were never used; a longer text may use them\n", unmet.matrices,
                 unmet.of);
    return;
  }
  Json json;
  json.set("file", flags.out);
  json.set("tensors", static_cast<int64_t>(matrix.tensors.size()));
  json.set("tokens", tokens);
  json.set("windows", static_cast<int64_t>(matrix.chunks));
  json.set("window", static_cast<int64_t>(matrix.chunk_tokens));
  json.set("expert_matrices", unmet.of);
  json.set("expert_matrices_never_used", unmet.matrices);
  json.set("seconds", seconds);
  fmt::print("{}\n", to_string(json));
}

int run(const Flags& flags) {
  check_target(flags);
  const Model model = flags.model.load();
  const Tokenizer tokenizer = load_tokenizer(model);
  const std::vector<Token> tokens = flags.text.tokens(tokenizer);
  InstanceOptions options = flags.text.options(flags.model);
  options.limits.logit_rows = 1;
  options.limits.mtp = true;  // its matrices have statistics too
  options.limits.inspect =
      model.config.indexer.has_value();  // its queries are computed from the first token on
  require_memory(model, options);
  Instance instance(model, options);
  const auto start = std::chrono::steady_clock::now();
  ImportanceMatrix matrix = [&] {
    Progress bar("tokens", Progress::Unit::count);
    return collect_importance(instance, tokens, flags.text.window, window_start(tokenizer),
                              [&](int64_t done, int64_t all) { bar.show(done, all); });
  }();
  matrix.datasets = {fs::path(flags.text.file).filename().string()};
  write_importance(flags.out, matrix);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print(flags, matrix, static_cast<int64_t>(tokens.size()), seconds);
  return kExitOk;
}

}  // namespace

void add_imatrix(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  flags->text.window = 512;
  CLI::App& command =
      *app.add_subcommand("imatrix", "Collect from a text which weights matter, for minke quantize");
  flags->model.add_model(command);
  flags->text.add_file(command);
  command
      .add_option("-o,--output", flags->out,
                  "The importance matrix: a GGUF file as llama.cpp's, or its older format for a name in .dat")
      ->required()
      ->type_name("OUT");
  flags->text.add(command);
  flags->model.add_kv(command);
  flags->model.add_machine(command);
  command.add_flag("--force", flags->force, "Write over OUT where it is there");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke imatrix model-f16.gguf text.txt -o model.imatrix.gguf\n  minke quantize "
      "model-f16.gguf model-q2.gguf --type Q2_K --importance model.imatrix.gguf");
  command.callback([flags, &action] {
    flags->model.chosen_isa();
    flags->model.kv_formats();
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke
