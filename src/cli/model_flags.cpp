#include "cli/model_flags.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/environment.h"
#include "cli/progress.h"
#include "hub/environment.h"
#include "hub/local_models.h"

namespace minke {

void ModelFlags::add_model(CLI::App& command) {
  command.add_option("MODEL", model, "A .gguf file, a Hugging Face folder, or the name of a pulled model")
      ->required();
  command.add_option("--allow-field", allowed, "Pass over this unknown config field or tensor (repeatable)")
      ->type_name("NAME");
}

void ModelFlags::add_kv(CLI::App& command) {
  command
      .add_option(
          "--kv", kv,
          "Cache format: f32, bf16, int8 or fp8; \"bf16,index=int8\" gives an indexer's keys their own")
      ->type_name("FORMAT")
      ->capture_default_str();
}

void ModelFlags::add_machine(CLI::App& command) {
  command
      .add_option(
          "--isa", isa,
          "Instruction set: scalar, avx2, avx512, avx512-vnni, avx512-bf16, neon (default: the widest here)")
      ->type_name("NAME");
  command.add_option("-t,--threads", threads, "Threads (default: one per physical core)")
      ->check(CLI::Range(1, 1024));
}

fs::path ModelFlags::path() const { return resolve_model(model_places(variable), model); }

LoadOptions ModelFlags::load_options() const {
  LoadOptions options;
  options.allowed = {allowed.begin(), allowed.end()};
  return options;
}

Model ModelFlags::load() const {
  LoadOptions options = load_options();
  Progress bar("loading", Progress::Unit::count);
  options.progress = [&](int64_t done, int64_t all) { bar.show(done, all); };
  return load_model(path(), options);
}

KvFormats ModelFlags::kv_formats() const { return minke::kv_formats(kv); }

std::optional<Isa> ModelFlags::chosen_isa() const {
  if (isa.empty()) return std::nullopt;
  std::string here;
  for (const Isa known : supported_isas()) here += (here.empty() ? "" : ", ") + std::string(name(known));
  const auto chosen = isa_by_name(isa);
  if (!chosen)
    throw Error(fmt::format("unknown instruction set '{}'", isa), "--isa", "this machine has " + here);
  if (!supported(*chosen)) throw Error(fmt::format("this machine has no {}", isa), "--isa", "it has " + here);
  return chosen;
}

}  // namespace minke
