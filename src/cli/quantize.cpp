#include "model/quantize.h"

#include <chrono>
#include <cmath>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/progress.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;  // its name only
  std::string out, types, importance;
  int threads = 0;
  bool force = false, requantize = false, dry = false, json = false;
};

struct Share {
  int64_t tensors = 0, weights = 0, bytes = 0;
};

// What of each type the new file holds, in the order of the registry.
std::map<std::string, Share> shares(const QuantizePlan& plan) {
  std::map<std::string, Share> by_type;
  for (const PlannedTensor& t : plan.tensors) {
    Share& share = by_type[type_name(t.to)];
    ++share.tensors;
    share.weights += t.to.count();
    share.bytes += byte_size(t.to).value_or(0);
  }
  return by_type;
}

double bits_per_weight(const QuantizePlan& plan) {
  int64_t weights = 0;
  for (const PlannedTensor& t : plan.tensors) weights += t.to.count();
  return weights > 0 ? 8 * static_cast<double>(plan.bytes_after) / static_cast<double>(weights) : 0;
}

double relative_error(const Rounding& r) { return r.size > 0 ? std::sqrt(r.error / r.size) : 0; }

// "a, b, c and 4 more"
std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t kShown = 6;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    list += (i > 0 ? ", " : "") + in_quotes(names[i]);
  return names.size() > kShown ? fmt::format("{} and {} more", list, names.size() - kShown) : list;
}

void warn(const ImportanceGaps& gaps) {
  if (!gaps.absent.empty())
    fmt::print(stderr, "minke: warning: no importance for {}: their columns count alike\n",
               list_of(gaps.absent));
  std::vector<std::string> unmet;
  int64_t matrices = 0;
  for (const ImportanceGaps::Unmet& u : gaps.unmet) unmet.push_back(u.tensor), matrices += u.matrices;
  if (!unmet.empty())
    fmt::print(
        stderr,
        "minke: warning: the text never used {} matrices of {}: their columns count alike; a longer text "
        "would help\n",
        matrices, list_of(unmet));
}

Json names_of(const ImportanceGaps& gaps) {
  Json names{JsonArray{}};
  for (const std::string& name : gaps.absent) names.as_array().push_back(name);
  return names;
}

void print_json(const Flags& flags, const Gguf& gguf, const QuantizePlan& plan, const ImportanceGaps& gaps,
                const Quantized& done, double seconds) {
  Json json, types, errors, others{JsonArray{}};
  for (const auto& [type, share] : shares(plan))
    types.set(type,
              JsonObject{{"tensors", share.tensors}, {"weights", share.weights}, {"bytes", share.bytes}});
  for (const Rounding& r : done.roundings) errors.set(name(r.format), relative_error(r));
  for (const PlannedTensor& t : plan.tensors)
    if (t.wanted)
      others.as_array().push_back(
          JsonObject{{"tensor", t.to.name}, {"wanted", name(*t.wanted)}, {"type", type_name(t.to)}});
  json.set("source", gguf.path().string());
  json.set("file", flags.out);
  json.set("written", done.whole);
  json.set("rules", plan.rules);
  json.set("source_bytes", plan.bytes_before);
  json.set("bytes", plan.bytes_after);
  json.set("bits_per_weight", bits_per_weight(plan));
  json.set("types", types);
  if (done.whole) json.set("relative_rms_error", done.roundings.empty() ? Json(JsonObject{}) : errors);
  json.set("other_type_than_asked", others);
  if (plan.importance) {
    json.set("importance", flags.importance);
    json.set("without_importance", names_of(gaps));
  }
  if (done.whole) json.set("seconds", seconds);
  fmt::print("{}\n", to_string(json));
}

void print_text(const Flags& flags, const QuantizePlan& plan, const Quantized& done, double seconds) {
  if (flags.dry)
    for (const PlannedTensor& t : plan.tensors)
      fmt::print("{:<40} {:>8} -> {:<8} {:>10}\n", t.to.name, type_name(*t.from), type_name(t.to),
                 bytes_text(byte_size(t.to).value_or(0)));
  for (const auto& [type, share] : shares(plan)) {
    fmt::print("{:<8} {:>5} tensors {:>10}", type, share.tensors, bytes_text(share.bytes));
    for (const Rounding& r : done.roundings)
      if (name(r.format) == type) fmt::print("  relative rms error {:.5f}", relative_error(r));
    fmt::print("\n");
  }
  std::map<std::string, int> others;
  for (const PlannedTensor& t : plan.tensors)
    if (t.wanted)
      ++others[fmt::format("{} instead of {}: rows of {}", type_name(t.to), name(*t.wanted),
                           t.to.shape.back())];
  for (const auto& [what, count] : others) fmt::print("{} tensors are {}\n", count, what);
  fmt::print("{} -> {}, {:.2f} bits per weight", bytes_text(plan.bytes_before), bytes_text(plan.bytes_after),
             bits_per_weight(plan));
  if (flags.dry)
    fmt::print("; nothing was written\n");
  else
    fmt::print(", {:.1f} s: {}\n", seconds, flags.out);
}

int run(const Flags& flags) {
  const TypeRules rules = TypeRules::parse(flags.types);
  const fs::path in = flags.model.path();
  std::error_code ec;
  if (fs::is_directory(in, ec))
    throw Error("is a folder, and only GGUF files are quantised", in.string(),
                "`minke convert` with --type makes a GGUF file with these types of it");
  const Gguf gguf = Gguf::open(in);
  QuantizePlan plan = plan_quantize(gguf, rules, flags.requantize);
  ImportanceMatrix importance;
  ImportanceGaps gaps;
  if (!flags.importance.empty()) {
    importance = read_importance(flags.importance);
    gaps = use_importance(plan, importance, flags.importance);
    warn(gaps);
  }
  Quantized done;
  const auto start = std::chrono::steady_clock::now();
  if (!flags.dry) {
    Interrupt interrupt(Interrupt::Second::ends);
    Progress bar("quantizing", Progress::Unit::bytes);
    QuantizeOptions options;
    options.threads = flags.threads > 0 ? flags.threads : usable_cores();
    options.overwrite = flags.force;
    options.progress = [&](int64_t now, int64_t all) { bar.show(now, all); };
    options.stopped = [&] { return interrupt.asked(); };
    done = write_quantized(gguf, plan, flags.out, options);
    if (!done.whole) return kExitInterrupted;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.json)
    print_json(flags, gguf, plan, gaps, done, seconds);
  else
    print_text(flags, plan, done, seconds);
  return kExitOk;
}

constexpr const char* kTypes =
    "A format for all weights, or rules NAME=FORMAT with commas between them. NAME: embd, output, attn, ffn, "
    "shared, "
    "experts, default, a part such as ffn_down, or a tensor with * for any text (blk.0.*). FORMAT: F32, F16, "
    "BF16, "
    "Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, or keep (what no "
    "rule names)";

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("quantize", "Write a GGUF file with smaller weights");
  command.add_option("MODEL", flags->model.model, "A .gguf file, or the name of a pulled one")->required();
  command.add_option("OUT", flags->out, "The new .gguf file")->required();
  command.add_option("--type", flags->types, kTypes)->required()->type_name("RULES");
  command
      .add_option("--importance", flags->importance,
                  "Spare the columns that matter: a file of `minke imatrix`, or of llama.cpp's")
      ->type_name("FILE");
  command.add_flag("--allow-requantize", flags->requantize,
                   "Also round weights that are quantised already; they lose twice");
  command.add_flag("--force", flags->force, "Write over OUT where it is there");
  command.add_flag("--dry-run", flags->dry, "Only say what would be written");
  add_threads(command, flags->threads);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Norms, biases and routers stay as they are.\n"
      "Examples:\n  minke quantize model-f16.gguf model-q4.gguf --type Q4_K\n"
      "  minke quantize model-f16.gguf model-mix.gguf --type default=Q4_K,ffn_down=Q5_K,output=Q6_K\n"
      "  minke quantize model-f16.gguf model-q2.gguf --type Q2_K --importance model.imatrix.gguf\n"
      "  minke quantize moe-bf16.gguf moe.gguf --type "
      "experts=Q4_K,attn=Q8_0,embd=Q6_K,output=Q6_K,default=Q5_K "
      "--dry-run");
  command.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace minke
