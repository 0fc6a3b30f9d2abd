#include "model/verify.h"

#include <charconv>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/model_flags.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  std::string golden, feed = "whole", activations = "f32";
  double tolerance = 1e-4;
  bool json = false;
};

Feed feed_of(const std::string& text) {
  if (text == "whole") return {};
  if (text == "single") return {Feed::single, 0};
  const std::string_view ragged = "ragged:";
  if (text.starts_with(ragged)) {
    Feed feed{Feed::ragged, 0};
    const char *begin = text.data() + ragged.size(), *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, feed.seed);
    if (error == std::errc() && stop == end) return feed;
  }
  throw Error(fmt::format("'{}' is no way to feed", text), "--feed", "whole, single or ragged:SEED");
}

Json as_json(const std::vector<Compared>& results) {
  JsonArray list;
  for (const Compared& c : results) {
    Json entry;
    entry.set("tensor", c.name);
    entry.set(c.exact ? "differing_share" : "max_relative", c.figure);
    if (!c.exact) entry.set("mean_absolute", c.mean);
    entry.set("tolerance", c.tolerance);
    if (!c.fault.empty()) entry.set("fault", c.fault);
    entry.set("ok", c.ok());
    list.push_back(std::move(entry));
  }
  return list;
}

int run(const Flags& flags) {
  VerifyOptions options;
  options.feed = feed_of(flags.feed);
  options.isa = flags.model.chosen_isa();
  options.threads = flags.model.threads;
  options.tolerance = flags.tolerance;
  options.round_activations = flags.activations == "int8";
  const Safetensors golden = Safetensors::open(flags.golden);
  const Model model = flags.model.load();
  const std::vector<Compared> results = verify(model, golden, options);
  bool ok = true;
  for (const Compared& c : results) ok = ok && c.ok();
  if (flags.json) {
    fmt::print("{}\n", to_string(as_json(results), 1));
  } else {
    for (const Compared& c : results) {
      if (c.exact)
        fmt::print("{:<22} {:>10.4f} differ{:>22}", c.name, c.figure, "");
      else
        fmt::print("{:<22} {:>10.2e} max  {:>10.2e} mean abs", c.name, c.figure, c.mean);
      fmt::print("  {}{}\n", c.ok() ? "ok" : "BEYOND", c.fault.empty() ? "" : ": " + c.fault);
    }
    fmt::print("{}\n", ok ? "all within tolerance" : "some beyond tolerance");
  }
  return ok ? kExitOk : kExitFailed;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("verify", "Compare a model with reference tensors");
  flags->model.add_model(command);
  flags->model.add_adapters(command);
  command.add_option("GOLDEN", flags->golden, "Reference tensors (.safetensors)")->required();
  command.add_option("--feed", flags->feed, "How the tokens go in: whole, single, or ragged:SEED");
  flags->model.add_machine(command);
  command.add_option("--tolerance", flags->tolerance, "Largest max|a-b| / max|b| of a float tensor")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--activations", flags->activations, "f32, or int8 as models run by default")
      ->check(CLI::IsMember({"f32", "int8"}));
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke verify tests/golden/models/llama tests/golden/models/llama/golden.safetensors\n"
      "  minke verify MODEL GOLDEN --feed ragged:7 --isa avx2 --threads 7");
  command.callback([flags, &action] {
    flags->model.chosen_isa();
    feed_of(flags->feed);
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke
