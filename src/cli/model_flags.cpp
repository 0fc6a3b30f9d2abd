#include "cli/model_flags.h"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/environment.h"
#include "cli/progress.h"
#include "hub/environment.h"
#include "hub/local_models.h"
#include "kernels/isas.h"
#include "model/placement.h"

namespace minke {
namespace {

HugePages wanted_pages(const std::string& flag) {
  return flag == "off" ? HugePages::off : flag == "on" ? HugePages::on : HugePages::automatic;
}

}  // namespace

void add_threads(CLI::App& command, int& threads, const std::string& otherwise) {
  command.add_option("-t,--threads", threads, fmt::format("Threads (default: {})", otherwise))
      ->check(CLI::Range(1, 4096));
}

void add_isa(CLI::App& command, std::string& isa) {
  command
      .add_option(
          "--isa", isa,
          "Instruction set: scalar, avx2, avx512, avx512-vnni, avx512-bf16, neon (default: the widest here)")
      ->type_name("NAME");
}

std::optional<Isa> chosen_isa(const std::string& isa) {
  if (isa.empty()) return std::nullopt;
  std::string here;
  const std::vector<Isa> usable = usable_isas();
  for (const Isa known : usable) here += (here.empty() ? "" : ", ") + std::string(name(known));
  const auto chosen = isa_by_name(isa);
  if (!chosen)
    throw Error(fmt::format("unknown instruction set '{}'", isa), "--isa", "this machine has " + here);
  if (std::ranges::find(usable, *chosen) == usable.end())
    throw Error(fmt::format("this machine has no {}", isa), "--isa", "it has " + here);
  return chosen;
}

void ModelFlags::add_model(CLI::App& command) {
  command.add_option("MODEL", model, "A .gguf file, a Hugging Face folder, or the name of a pulled model")
      ->required();
  command.add_option("--allow-field", allowed, "Pass over this unknown config field or tensor (repeatable)")
      ->type_name("NAME");
}

void ModelFlags::add_adapters(CLI::App& command) {
  command.add_option("--lora", adapters, "Adapters of the model: a folder as minke train and PEFT write it")
      ->type_name("FOLDER");
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
  add_isa(command, isa);
  add_threads(command, threads);
  command
      .add_option(
          "--huge-pages", huge_pages,
          "Weights on huge pages: off, auto (where files come in on them), or on (read anew or copied)")
      ->check(CLI::IsMember({"off", "auto", "on"}))
      ->capture_default_str();
  command.add_flag("--lock", lock, "Keep the weights in memory");
  command.add_flag(
      "--repack", repack,
      "Weights as copies in the order in which products read them: faster, and the same numbers");
  command
      .add_option(
          "--numa", numa,
          "On several NUMA nodes: off, spread (a copy on the pages of all), or replicate (a copy each)")
      ->check(CLI::IsMember({"off", "spread", "replicate"}))
      ->capture_default_str();
}

fs::path ModelFlags::path() const { return resolve_model(model_places(variable), model); }

LoadOptions ModelFlags::load_options() const {
  LoadOptions options;
  options.allowed = {allowed.begin(), allowed.end()};
  options.huge_pages = wanted_pages(huge_pages);
  options.adapters = adapters;
  return options;
}

Model ModelFlags::load() const {
  LoadOptions options = load_options();
  Model loaded = [&] {
    Progress bar("loading", Progress::Unit::count);
    options.progress = [&](int64_t done, int64_t all) { bar.show(done, all); };
    return load_model(path(), options);
  }();
  PlacementOptions place;
  place.huge_pages = options.huge_pages;
  place.numa = numa == "spread" ? Numa::spread : numa == "replicate" ? Numa::replicate : Numa::off;
  place.lock = lock;
  place.repack = repack;
  place.isa = chosen_isa().value_or(usable_isas().back());
  place.threads = threads > 0 ? threads : usable_cores();
  const std::vector<std::string> notes = [&] {
    Progress bar("reading", Progress::Unit::bytes);
    place.progress = [&](int64_t done, int64_t all) { bar.show(done, all); };
    return place_weights(loaded, place);
  }();
  for (const std::string& note : notes) fmt::print(stderr, "minke: {}\n", note);
  return loaded;
}

KvFormats ModelFlags::kv_formats() const { return minke::kv_formats(kv); }

std::optional<Isa> ModelFlags::chosen_isa() const { return minke::chosen_isa(isa); }

}  // namespace minke
