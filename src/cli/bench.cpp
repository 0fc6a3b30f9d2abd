#include <limits>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "engine/measure.h"
#include "model/placement.h"
#include "plan/memory.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  MeasureOptions measure;
  std::string activations = "int8";
  int ubatch = 512;
  bool exact = false;
  bool json = false;
};

Json as_json(const Flags& flags, const Instance& instance, const std::vector<Measured>& results) {
  Json json;
  json.set("model", flags.model.model);
  json.set("isa", name(instance.context().kernels.isa));
  json.set("threads", instance.context().pool.size());
  json.set("kv", flags.model.kv);
  json.set("prompt", flags.measure.prompt);
  json.set("decode", flags.measure.decode);
  json.set("sequences", flags.measure.sequences);
  const Residence weights = residence_of(instance.model());
  json.set("weights", JsonObject{{"bytes", weights.bytes},
                                 {"huge_of_page_cache", weights.huge_file},
                                 {"huge_copied", weights.huge_own},
                                 {"locked", weights.locked}});
  JsonArray list;
  for (const Measured& m : results) {
    Json entry;
    entry.set("depth", m.depth);
    entry.set("prefill_tok_s", m.prefill_rate);
    entry.set("prefill_gmac_s", m.prefill_multiplies / 1e9);
    entry.set("prefill_share", m.prefill_share);
    entry.set("decode_tok_s", m.decode_rate);
    entry.set("decode_gb_s", m.decode_bytes / 1e9);
    entry.set("decode_share", m.decode_share);
    entry.set("limit_read_gb_s", m.limit.read_bytes / 1e9);
    entry.set("limit_int8_gmac_s", m.limit.int8_multiplies / 1e9);
    entry.set("limit_bf16_gmac_s", m.limit.bf16_multiplies / 1e9);
    entry.set("limit_f32_gmac_s", m.limit.f32_multiplies / 1e9);
    list.push_back(std::move(entry));
  }
  json.set("results", std::move(list));
  return json;
}

int run(const Flags& flags) {
  const Model model = flags.model.load();
  InstanceOptions o;
  o.isa = flags.model.chosen_isa();
  o.round_activations = flags.activations == "int8";
  o.limits.threads = flags.model.threads;
  o.limits.rows = flags.ubatch;
  o.limits.kv = flags.model.kv_formats();
  o.limits.decompress = !flags.exact;
  o.limits.sequences = o.limits.logit_rows = flags.measure.sequences;
  o.limits.rows = std::max(o.limits.rows, flags.measure.sequences);
  for (const int depth : flags.measure.depths) {
    const int64_t each = depth + std::max(flags.measure.prompt, flags.measure.decode) + 2 * kPageTokens;
    o.limits.context = static_cast<int>(std::clamp<int64_t>(each * flags.measure.sequences, o.limits.context,
                                                            std::numeric_limits<int>::max()));
  }
  require_memory(model, o);
  Instance instance(model, o);
  const auto results = [&] {
    Progress bar("bench", Progress::Unit::count);
    return measure(instance, flags.measure, [&](const char* what) { bar.say(what); });
  }();
  if (flags.json) {
    fmt::print("{}\n", to_string(as_json(flags, instance, results), 1));
    return kExitOk;
  }
  fmt::print("{} threads, {}; weights {}\n", instance.context().pool.size(),
             name(instance.context().kernels.isa), residence_text(model));
  fmt::print("{:>7}  {:>24}  {:>24}  {}\n", "depth", fmt::format("prefill {}", flags.measure.prompt),
             flags.measure.sequences > 1
                 ? fmt::format("decode {} x {}", flags.measure.sequences, flags.measure.decode)
                 : fmt::format("decode {}", flags.measure.decode),
             "limits here");
  for (const Measured& m : results) {
    fmt::print(
        "{:>7}  {:>10.2f} tok/s {:>5.1f} %  {:>10.2f} tok/s {:>5.1f} %  {:.1f} GB/s read, {:.0f} int8, "
        "{:.0f} bf16 and {:.0f} f32 GMAC/s\n",
        m.depth, m.prefill_rate, 100 * m.prefill_share, m.decode_rate, 100 * m.decode_share,
        m.limit.read_bytes / 1e9, m.limit.int8_multiplies / 1e9, m.limit.bf16_multiplies / 1e9,
        m.limit.f32_multiplies / 1e9);
  }
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("bench", "Measure prefill and decode beside the machine's limits");
  flags->model.add_model(command);
  flags->model.add_adapters(command);
  command.add_option("-p,--prompt", flags->measure.prompt, "Prompt tokens (0: no prefill)")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command.add_option("-n,--decode", flags->measure.decode, "Tokens to decode (0: none)")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      .add_option("-s,--sequences", flags->measure.sequences, "Sequences decoded at once, each of the depth")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("-d,--depth", flags->measure.depths, "Tokens in the cache before, comma-separated")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 26));
  command
      .add_option("--computed", flags->measure.computed,
                  "Compute only so many tokens of a depth; copies of their cache rows stand for the rest")
      ->check(CLI::Range(1, 1 << 26));
  command.add_option("-r,--repeats", flags->measure.repeats, "Repeats; medians are printed")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command.add_option("--ubatch", flags->ubatch, "Tokens of one step")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command.add_flag("--exact", flags->exact, "One form of attention, as `minke run --exact`");
  command.add_option("--activations", flags->activations, "int8 or f32")
      ->check(CLI::IsMember({"int8", "f32"}));
  flags->model.add_kv(command);
  flags->model.add_machine(command);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke bench model.gguf -p 512 -n 64 -d 0,4096\n  minke bench model.gguf -p 0 --sequences "
      "8\n  minke bench model.gguf --threads 2 "
      "--json");
  command.callback([flags, &action] {
    flags->model.chosen_isa();
    flags->model.kv_formats();
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke
