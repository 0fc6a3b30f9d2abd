#include "model/convert.h"

#include <algorithm>
#include <map>
#include <sys/stat.h>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/folder.h"
#include "formats/general_keys.h"
#include "formats/unfinished.h"
#include "model/architecture.h"
#include "model/convert_tensor.h"
#include "text/hash.h"
#include "text/tokenizer_files.h"

namespace minke {
namespace {

constexpr std::string_view kSource = "minke.convert.source", kTypes = "minke.convert.types";

// A file of the target: what it begins with, and its tensors behind that. A file without tensors is all head.
struct TargetFile {
  std::string name, head;
  std::span<const TargetTensor> tensors = {};
};

Format most_used(const Conversion& conversion) {
  std::map<Format, int64_t> weights;
  for (const TargetTensor& t : conversion.tensors)
    if (t.to.shape.size() >= 2) weights[t.to.format] += t.to.count();
  const auto most = std::ranges::max_element(weights, {}, &std::pair<const Format, int64_t>::second);
  return most == weights.end() ? Format::f32 : most->first;
}

// ---- A GGUF file

void add_text(GgufHeader& header, std::string_view key, std::string_view text) {
  if (!text.empty()) header.add(key, {GgufType::string, text});
}

void add_tokenizer(GgufHeader& header, const HfFolder& folder, const Config& config) {
  const std::optional<Token> eos = config.eos.empty() ? std::nullopt : std::optional<Token>(config.eos[0]);
  if (folder.tokenizer) {
    TokenizerFiles::read(*folder.tokenizer).add_to(header, config.vocab, config.bos, eos);
    return;
  }
  const auto add_id = [&](const char* key, std::optional<Token> id) {
    if (id) header.add(key, {GgufType::u32, static_cast<uint64_t>(*id)});
  };
  add_id("tokenizer.ggml.bos_token_id", config.bos);
  add_id("tokenizer.ggml.eos_token_id", eos);
}

std::vector<TargetFile> gguf_file(const Model& model, const Conversion& conversion, const fs::path& target) {
  const HfFolder& folder = *model.folder();
  const Config& config = conversion.config;
  GgufHeader header;
  const auto* row = std::ranges::find(architectures(), config.arch, &Architecture::name).operator->();
  add_text(header, "general.architecture", row->gguf);
  add_text(header, "general.type", "model");
  add_text(header, "general.name", config.name);
  add_licence_keys(header, folder);
  add_sampling_keys(header, folder.generation);
  header.add("general.file_type", {GgufType::u32, file_type(most_used(conversion))});
  header.add("general.quantization_version", {GgufType::u32, uint64_t{2}});
  add_text(header, kSource, conversion.source);
  add_text(header, kTypes, conversion.types);
  const std::string importance = conversion.importance_file.filename().string();
  if (conversion.importance)
    for (const auto& [key, value] : importance_keys(*conversion.importance, importance))
      header.add(key, value);
  config_to_gguf(config, header);
  add_tokenizer(header, folder, config);
  for (const TargetTensor& t : conversion.tensors) header.declare(t.to);
  return {{target.filename().string(), header.bytes(), conversion.tensors}};
}

// ---- A folder

std::string dtype_name(Format format) {
  return format == Format::f32 ? "float32" : format == Format::f16 ? "float16" : "bfloat16";
}

std::string generation_config(const Gguf& gguf, const Config& config) {
  const GenerationAdvice advice = read_sampling_keys(gguf);
  Json json = JsonObject{{"bos_token_id", config.bos ? Json(*config.bos) : Json()}};
  json.set("eos_token_id", Json(JsonArray(config.eos.begin(), config.eos.end())));
  if (!advice.temperature) return to_string(json, 2) + "\n";
  json.set("do_sample", true);
  const auto set = [&](const char* key, std::optional<double> value) {
    if (value) json.set(key, decimal(static_cast<float>(*value)));
  };
  set("temperature", advice.temperature);
  set("top_p", advice.top_p);
  set("min_p", advice.min_p);
  set("repetition_penalty", advice.repetition_penalty);
  if (advice.top_k) json.set("top_k", *advice.top_k);
  return to_string(json, 2) + "\n";
}

std::vector<TargetFile> weight_files(const Conversion& conversion) {
  std::vector<TensorView> views;
  for (const TargetTensor& t : conversion.tensors) views.push_back(t.to);
  SafetensorsShards made = safetensors_shards(views, conversion.shard_ends);
  std::vector<TargetFile> files;
  for (SafetensorsShards::Shard& shard : made.shards)
    files.push_back({std::move(shard.name), std::move(shard.header),
                     std::span(conversion.tensors).subspan(shard.begin, shard.end - shard.begin)});
  if (!made.index.empty()) files.push_back({kSafetensorsIndexName, std::move(made.index)});
  return files;
}

std::vector<TargetFile> folder_files(const Model& model, const Conversion& conversion) {
  const Gguf& gguf = *model.gguf();
  const Config& config = conversion.config;
  std::vector<TargetFile> files = weight_files(conversion);
  const auto add = [&](std::string name, const Json& json) {
    files.push_back({std::move(name), to_string(json, 2) + "\n"});
  };
  add("config.json", config_to_json(config, dtype_name(most_used(conversion))));
  files.push_back({"generation_config.json", generation_config(gguf, config)});
  if (gguf.find("tokenizer.ggml.model")) {
    const TokenizerFiles tokenizer = TokenizerFiles::read(gguf);
    add("tokenizer.json", tokenizer.tokenizer_json());
    add("tokenizer_config.json", tokenizer.tokenizer_config(config.context));
    const std::string& json = files[files.size() - 2].head;
    Tokenizer::from_json(json, "the new tokenizer.json", files.back().head);  // before anything is written
  }
  for (auto& [name, text] : read_licence_files(gguf)) files.push_back({std::move(name), std::move(text)});
  const std::string name = config.name.empty() ? conversion.source : config.name;
  files.push_back({"README.md", model_card(gguf, name, conversion.source)});
  return files;
}

// ---- Taking up what was interrupted

// Files of the source with their sizes and times: other ones give other bytes.
std::string source_files(const Model& model, const fs::path& importance) {
  std::vector<fs::path> paths;
  const fs::path folder = model.gguf() ? model.path.parent_path() : model.path;
  if (model.gguf() && !is_split_name(model.path))
    paths = {model.path};
  else
    for (const std::string& name : file_names(folder.empty() ? fs::path(".") : folder))
      paths.push_back(folder / name);
  if (!importance.empty()) paths.push_back(importance);
  std::string text;
  for (const fs::path& path : paths) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) == 0)
      text += fmt::format("{} {} {}.{}\n", path.filename().string(), info.st_size, info.st_mtim.tv_sec,
                          info.st_mtim.tv_nsec);
  }
  return text;
}

std::string identity_of(const Model& model, const Conversion& conversion, std::span<const TargetFile> files) {
  std::string text = source_files(model, conversion.importance_file);
  for (const TargetFile& file : files) text += fmt::format("{} {:016x}\n", file.name, hash_bytes(file.head));
  return fmt::format("{:016x}", hash_bytes(text));
}

void check_target(const Model& model, Container to, const fs::path& target, bool overwrite) {
  std::error_code none;
  const std::string where = target.string();
  if (fs::equivalent(model.path, target, none))
    throw Error("is the model that is read", where, "name another target");
  const bool there = fs::exists(fs::symlink_status(target, none)), folder = fs::is_directory(target, none);
  if (to == Container::gguf) {
    if (is_split_name(target))
      throw Error("is the name of a part of a split file, and one whole file is written", where,
                  "give it another name");
    if (folder) throw Error("is a folder", where, "name a file in it");
  } else if (there && !folder) {
    throw Error("is a file, and a folder is written", where, "name another target");
  } else if (there && overwrite && !fs::is_empty(target, none) && !is_file(target / "config.json")) {
    throw Error("holds no model, and is not written over", where,
                "remove it yourself, or name another target");
  }
  if (there && !overwrite) throw Error("is there already", where, "--force writes over it");
}

void check_space(const fs::path& target, int64_t bytes) {
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::error_code none;
  const fs::space_info space = fs::space(folder, none);
  if (!none && bytes > 0 && space.available < static_cast<uintmax_t>(bytes))
    throw Error(
        fmt::format("{} MB are needed, {} MB are free", bytes / 1'000'000, space.available / 1'000'000),
        folder.string());
}

bool write_files(std::span<const TargetFile> files, const Conversion& conversion, TensorMaker& maker,
                 UnfinishedOutput& out) {
  for (const TargetFile& file : files) {
    out.begin(file.name);
    if (!out.skip(file.head.size())) out.write(as_bytes(file.head));
    for (const TargetTensor& tensor : file.tensors) {
      if (!maker.write(tensor)) return false;
      if (conversion.to != Container::gguf) continue;
      const Bytes padding = gguf_padding(static_cast<uint64_t>(byte_size(tensor.to).value()));
      if (!out.skip(padding.size())) out.write(padding);
    }
    out.end();
  }
  return true;
}

}  // namespace

Converted write_conversion(const Model& model, const Conversion& conversion, const fs::path& target,
                           const ConversionRun& run) {
  check_target(model, conversion.to, target, run.overwrite);
  const bool gguf = conversion.to == Container::gguf;
  const std::vector<TargetFile> files =
      gguf ? gguf_file(model, conversion, target) : folder_files(model, conversion);
  UnfinishedOutput::Options options;
  options.kind = gguf ? UnfinishedOutput::Kind::file : UnfinishedOutput::Kind::folder;
  options.identity = identity_of(model, conversion, files);
  options.sync_bytes = run.sync_bytes;
  options.checking = run.checking;
  UnfinishedOutput out(target, std::move(options));
  Converted result;
  result.kept = static_cast<int64_t>(out.kept());
  check_space(target, conversion.bytes_after - result.kept);
  if (run.progress) run.progress(std::min(result.kept, conversion.bytes_after), conversion.bytes_after);
  int64_t done = 0;
  TensorMaker maker(model, conversion, run.threads, out, [&](int64_t bytes) {
    done += bytes;
    if (run.progress && done > result.kept) run.progress(done, conversion.bytes_after);
    return !(run.stopped && run.stopped());
  });
  if (write_files(files, conversion, maker, out)) {
    out.finish();
    result.whole = true;
  }
  result.written = done;
  return result;
}

}  // namespace minke
