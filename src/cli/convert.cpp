#include "model/convert.h"

#include <chrono>
#include <map>
#include <system_error>

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
  ModelFlags model;  // its name and --allow-field
  std::string to, types, importance;
  int64_t shard_bytes = 5'000'000'000;
  int threads = 0;
  bool no_mtp = false, overwrite = false, dry = false, json = false;
};

struct Share {
  int64_t tensors = 0, bytes = 0;
};

std::map<std::string, Share> shares(const Conversion& conversion) {
  std::map<std::string, Share> by_type;
  for (const TargetTensor& t : conversion.tensors) {
    Share& share = by_type[type_name(t.to)];
    ++share.tensors;
    share.bytes += byte_size(t.to).value_or(0);
  }
  return by_type;
}

std::string weights_of(const TargetTensor& t) {
  if (t.slots.empty()) return "frequencies";
  std::string text = name(t.slots.front().role);
  if (t.slots.size() > 1) text += fmt::format(" and {} more", t.slots.size() - 1);
  return text;
}

void print_json(const Conversion& conversion, const fs::path& to, const Converted& done, double seconds) {
  Json json, types = JsonObject{}, notes{JsonArray{}}, others{JsonArray{}};
  for (const auto& [type, share] : shares(conversion))
    types.set(type, JsonObject{{"tensors", share.tensors}, {"bytes", share.bytes}});
  for (const std::string& note : conversion.notes) notes.as_array().push_back(note);
  for (const TargetTensor& t : conversion.tensors)
    if (t.wanted)
      others.as_array().push_back(
          JsonObject{{"tensor", t.to.name}, {"wanted", name(*t.wanted)}, {"type", type_name(t.to)}});
  json.set("source", conversion.source);
  json.set("target", to.string());
  json.set("container", conversion.to == Container::gguf ? "gguf" : "folder");
  json.set("written", done.whole);
  json.set("source_bytes", conversion.bytes_before);
  json.set("bytes", conversion.bytes_after);
  json.set("kept_bytes", done.kept);
  json.set("files", conversion.shard_ends.size());
  json.set("types", std::move(types));
  json.set("other_type_than_asked", std::move(others));
  json.set("notes", std::move(notes));
  if (done.whole) json.set("seconds", seconds);
  fmt::print("{}\n", to_string(json));
}

void print_text(const Conversion& conversion, const fs::path& to, double seconds, bool dry) {
  if (dry)
    for (const TargetTensor& t : conversion.tensors)
      fmt::print("{:<48} {:<28} from {}\n", t.to.name, t.to.describe(), weights_of(t));
  for (const auto& [type, share] : shares(conversion))
    fmt::print("{:<8} {:>5} tensors {:>10}\n", type, share.tensors, bytes_text(share.bytes));
  std::map<std::string, int> others;
  for (const TargetTensor& t : conversion.tensors)
    if (t.wanted)
      ++others[fmt::format("{} instead of {}: rows of {}", type_name(t.to), name(*t.wanted),
                           t.to.shape.back())];
  for (const auto& [what, count] : others) fmt::print("{} tensors are {}\n", count, what);
  fmt::print("{} -> {}", bytes_text(conversion.bytes_before), bytes_text(conversion.bytes_after));
  if (conversion.shard_ends.size() > 1) fmt::print(" in {} files", conversion.shard_ends.size());
  if (dry)
    fmt::print("; nothing was written\n");
  else
    fmt::print(", {:.1f} s: {}\n", seconds, to.string());
}

// Without a slash at its end, which would put the unfinished folder inside of it.
fs::path target_of(const Flags& flags, const Model& model) {
  fs::path to = flags.to;
  if (!to.has_filename()) to = to.parent_path();
  const bool names_gguf = to.extension() == ".gguf";
  if (to.empty()) throw Error("names no file or folder", flags.to);
  if (model.folder() && !names_gguf)
    throw Error("a folder becomes a GGUF file, and its name ends in .gguf", to.string(),
                "to go the other way, name a .gguf file first");
  if (model.gguf() && names_gguf)
    throw Error("a GGUF file becomes a folder", to.string(),
                "`minke quantize` writes it as a GGUF file with other types");
  return to;
}

// What the new model says it was made of: the name of a pulled model, or of a file without the folders it
// lies in.
std::string source_of(const Flags& flags) {
  std::error_code none;
  if (!fs::exists(flags.model.model, none)) return flags.model.model;
  return fs::weakly_canonical(flags.model.model, none).filename().string();
}

Converted write(const Flags& flags, const Model& model, const Conversion& conversion, const fs::path& to) {
  Interrupt interrupt(Interrupt::Second::ends);
  Converted done;
  {
    Progress checking("checking what is there", Progress::Unit::bytes),
        bar("converting", Progress::Unit::bytes);
    ConversionRun run;
    run.threads = flags.threads > 0 ? flags.threads : usable_cores();
    run.overwrite = flags.overwrite;
    run.checking = [&](int64_t now, int64_t all) { checking.show(now, all); };
    run.progress = [&](int64_t now, int64_t all) { bar.show(now, all); };
    run.stopped = [&] { return interrupt.asked(); };
    done = write_conversion(model, conversion, to, run);
  }
  if (!done.whole)
    fmt::print(stderr, "minke: stopped after {} of {}; the same command goes on from there\n",
               bytes_text(done.written), bytes_text(conversion.bytes_after));
  return done;
}

int run(const Flags& flags) {
  ConversionOptions options;
  if (!flags.types.empty()) options.types = TypeRules::parse(flags.types);
  options.mtp = !flags.no_mtp;
  options.shard_bytes = flags.shard_bytes;
  options.source = source_of(flags);
  ImportanceMatrix importance;
  if (!flags.importance.empty()) {
    importance = read_importance(flags.importance);
    options.importance = &importance;
    options.importance_file = flags.importance;
  }
  LoadOptions load = flags.model.load_options();
  load.dry = true;
  const Model model = load_model(flags.model.path(), load);
  const fs::path to = target_of(flags, model);
  if (model.gguf() && options.importance)
    throw Error("is for types of blocks, and a folder holds none", "--importance");
  const Conversion conversion = plan_conversion(model, options);
  const auto start = std::chrono::steady_clock::now();
  Converted done;
  if (!flags.dry) done = write(flags, model, conversion, to);
  if (!flags.dry && !done.whole) return kExitInterrupted;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const std::string& note : conversion.notes) fmt::print(stderr, "minke: note: {}\n", note);
  if (done.kept > 0)
    fmt::print(stderr, "minke: note: {} were there from an earlier run\n", bytes_text(done.kept));
  if (flags.json)
    print_json(conversion, to, done, seconds);
  else
    print_text(conversion, to, seconds, flags.dry);
  return kExitOk;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("convert", "Turn a Hugging Face folder into a GGUF file, or back");
  flags->model.add_model(command);
  command.get_option("MODEL")->description(
      "A Hugging Face folder, a .gguf file, or the name of a pulled model");
  command.add_option("TO", flags->to, "The new .gguf file, or the new folder")->required();
  command
      .add_option(
          "--type", flags->types,
          "Types of the new weights, as `minke quantize` takes them: a format, or rules NAME=FORMAT with "
          "commas between (default: as they are; FP8, and blocks on their way to a folder, as BF16)")
      ->type_name("RULES");
  command
      .add_option(
          "--importance", flags->importance,
          "For a GGUF file: spare the columns that matter, by a file of `minke imatrix`, or of llama.cpp's")
      ->type_name("FILE");
  command.add_flag("--no-mtp", flags->no_mtp, "Leave out the layers for multi-token prediction");
  command.add_option("--shard-size", flags->shard_bytes, "Bytes of each .safetensors file (default: 5GB)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command.add_flag("--force", flags->overwrite, "Write over TO where it is there");
  command.add_flag("--dry-run", flags->dry, "Only say what would be written");
  add_threads(command, flags->threads);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "An interrupted conversion goes on where it stopped when the same command is given again.\n"
      "Examples:\n  minke convert DeepSeek-R1 deepseek-r1.gguf\n"
      "  minke convert DeepSeek-R1 deepseek-r1-q4.gguf --type experts=Q4_K,default=Q8_0\n"
      "  minke convert model-q4_k_m.gguf model-folder --type F32");
  command.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace minke
