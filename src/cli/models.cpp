#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/progress.h"
#include "hub/environment.h"
#include "hub/local_models.h"

namespace minke {
namespace {

struct Flags {
  std::string remove;
  bool json = false;
};

Json as_json(const std::vector<LocalModel>& models) {
  JsonArray list;
  for (const LocalModel& m : models) {
    JsonArray files;
    for (const fs::path& file : m.files) files.push_back(file.string());
    Json entry;
    entry.set("name", m.name);
    entry.set("bytes", m.bytes);
    entry.set("architecture", m.architecture.empty() ? Json() : Json(m.architecture));
    entry.set("quantisation", m.quant.empty() ? Json() : Json(m.quant));
    entry.set("format", m.safetensors ? "safetensors" : "gguf");
    entry.set("complete", m.complete);
    entry.set("path", m.path.string());
    entry.set("files", std::move(files));
    list.push_back(std::move(entry));
  }
  return list;
}

void print_table(const std::vector<LocalModel>& models) {
  size_t name = 4, architecture = 12;
  for (const LocalModel& m : models) {
    name = std::max(name, m.name.size());
    architecture = std::max(architecture, m.architecture.size());
  }
  fmt::print("{:<{}}  {:>9}  {:<{}}  {:<8}  {}\n", "NAME", name, "SIZE", "ARCHITECTURE", architecture,
             "QUANT", "PATH");
  for (const LocalModel& m : models)
    fmt::print("{:<{}}  {:>9}  {:<{}}  {:<8}  {}{}\n", m.name, name,
               bytes_text(static_cast<int64_t>(m.bytes)), m.architecture.empty() ? "?" : m.architecture,
               architecture, m.quant.empty() ? "?" : m.quant, m.path.string(),
               m.complete ? "" : "  (incomplete: `minke pull` fetches the rest)");
}

int run(const Flags& flags) {
  const ModelPlaces places = model_places(variable);
  if (!flags.remove.empty()) {
    const RemovedModel removed = remove_model(places, flags.remove);
    if (flags.json) {
      JsonArray files;
      for (const fs::path& file : removed.files) files.push_back(file.string());
      Json json;
      json.set("removed", flags.remove);
      json.set("files", std::move(files));
      json.set("bytes", removed.bytes);
      fmt::print("{}\n", to_string(json));
    } else {
      fmt::print("removed {}: {} files, {}\n", flags.remove, removed.files.size(),
                 bytes_text(static_cast<int64_t>(removed.bytes)));
    }
    return kExitOk;
  }
  const std::vector<LocalModel> models = list_models(places);
  if (flags.json)
    fmt::print("{}\n", to_string(as_json(models), 1));
  else if (models.empty())
    fmt::print(
        "No models here yet. `minke pull ORG/NAME` fetches one into {}; GGUF files and model folders can be "
        "put into {}.\n",
        places.hub_cache.string(), places.models.string());
  else
    print_table(models);
  return kExitOk;
}

}  // namespace

void add_models(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("models", "List the models on this machine");
  command.add_option("--remove", flags->remove, "Remove this model, by its name in the list")
      ->type_name("NAME");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke models\n  minke models --json\n  minke models --remove "
      "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:Q4_K_M");
  command.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace minke
