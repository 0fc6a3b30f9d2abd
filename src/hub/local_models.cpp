#include "hub/local_models.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "formats/gguf.h"
#include "hub/cache.h"
#include "hub/file_choice.h"
#include "hub/model_name.h"
#include "net/header.h"

namespace minke {
namespace {

constexpr const char* kHowToFetch =
    "`minke pull ORG/NAME` fetches a model, `minke models` lists what is here";

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
  return out;
}

// A folder with models: a snapshot in the cache, or one of the user's own.
struct Folder {
  fs::path path;
  std::string name;      // of its models: "org/name", or the folder's
  std::string revision;  // "@v2"; empty for main and outside the cache
  bool cached = false;
};

std::optional<Json> read_json(const fs::path& path) {
  try {
    return parse_json(read_file(path));
  } catch (const Error&) {
    return std::nullopt;
  }
}

// The shards an index names, each once; nothing where it cannot be read.
std::optional<std::set<std::string>> shards_of(const fs::path& folder) {
  const auto index = read_json(folder / kSafetensorsIndex);
  const Json* map = index ? index->find("weight_map") : nullptr;
  if (!map || !map->is_object()) return std::nullopt;
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->as_object())
    if (shard.is_string()) shards.insert(shard.as_string());
  return shards;
}

bool has_all_weights(const fs::path& folder, const std::vector<std::string>& present) {
  const auto has = [&](const std::string& path) {
    return std::binary_search(present.begin(), present.end(), path);
  };
  if (!has(kSafetensorsIndex)) return has(kSafetensors);
  const auto shards = shards_of(folder);
  return shards && std::all_of(shards->begin(), shards->end(), has);
}

// "FP8" or "BF16", as config.json tells of the weights.
std::string quant_in_config(const Json& config) {
  if (const Json* quantization = config.find("quantization_config"))
    if (const Json* method = quantization->find("quant_method"); method && method->is_string())
      return printable(upper(method->as_string()), 40);
  for (const char* key : {"torch_dtype", "dtype"}) {
    const Json* type = config.find(key);
    if (!type || !type->is_string()) continue;
    if (type->as_string() == "bfloat16") return "BF16";
    if (type->as_string() == "float16") return "F16";
    if (type->as_string() == "float32") return "F32";
  }
  return {};
}

// The format most of the weights' bytes are in: where the name does not tell the quantisation.
std::string main_format(const Gguf& file) {
  std::map<Format, uint64_t> bytes;
  for (const TensorView& tensor : file.tensors())
    if (tensor.dtype == DType::weights) bytes[tensor.format] += tensor.bytes.size();
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& x, const auto& y) { return x.second < y.second; });
  return most == bytes.end() ? "" : name(most->first);
}

void describe_gguf(LocalModel& model) {
  try {
    const Gguf file = Gguf::open(model.path);
    model.architecture = printable(file.string("general.architecture").value_or(""), 80);
    if (model.quant.empty()) model.quant = main_format(file);
  } catch (const Error&) {  // damaged or incomplete: it is listed all the same, and says so when it is run
  }
}

void describe_safetensors(LocalModel& model) {
  const auto config = read_json(model.path / "config.json");
  if (!config) return;
  model.quant = quant_in_config(*config);
  const Json* names = config->find("architectures");
  if (names && names->is_array() && !names->as_array().empty() && names->as_array()[0].is_string())
    model.architecture = printable(names->as_array()[0].as_string(), 80);
}

uint64_t total_size(const std::vector<fs::path>& files) {
  uint64_t sum = 0;
  std::error_code ec;
  for (const fs::path& file : files)
    if (const uint64_t size = fs::file_size(file, ec); !ec) sum += size;
  return sum;
}

LocalModel gguf_in(const Folder& folder, const GgufModel& gguf, bool only_of_its_quant) {
  LocalModel model;
  const bool by_quant = !gguf.quant.empty() && only_of_its_quant;
  model.name =
      fmt::format("{}:{}{}", folder.name, by_quant ? gguf.quant : gguf.files.front(), folder.revision);
  model.quant = gguf.quant;
  model.path = folder.path / gguf.files.front();
  model.complete = gguf.complete();
  for (const std::string& file : gguf.files) model.files.push_back(folder.path / file);
  return model;
}

// What belongs to the safetensors model of a folder: in the cache all that is no GGUF model, else what pull
// would have fetched.
LocalModel safetensors_in(const Folder& folder, const std::vector<std::string>& paths,
                          const std::vector<GgufModel>& ggufs) {
  LocalModel model;
  model.name = folder.name + folder.revision;
  model.safetensors = true;
  model.path = folder.path;
  model.complete = has_all_weights(folder.path, paths);
  std::set<std::string> members(paths.begin(), paths.end());
  if (folder.cached) {
    for (const GgufModel& gguf : ggufs)
      for (const std::string& file : gguf.files) members.erase(file);
  } else {
    const FileChoice choice = choose_files(paths, "safetensors", folder.name);
    const auto shards = choice.sharded ? shards_of(folder.path) : std::nullopt;
    std::set<std::string> wanted(choice.files.begin(), choice.files.end());
    if (shards) wanted.insert(shards->begin(), shards->end());
    std::erase_if(members, [&](const std::string& path) { return !wanted.count(path); });
  }
  for (const std::string& path : members) model.files.push_back(folder.path / path);
  return model;
}

void list_folder(const Folder& folder, std::vector<LocalModel>& models) {
  const std::vector<std::string> paths = snapshot_files(folder.path);
  const std::vector<GgufModel> ggufs = gguf_models(paths);
  std::map<std::string, int> count;
  for (const GgufModel& gguf : ggufs) ++count[gguf.quant];
  for (const GgufModel& gguf : ggufs) models.push_back(gguf_in(folder, gguf, count[gguf.quant] == 1));
  const auto has = [&](const char* path) { return std::binary_search(paths.begin(), paths.end(), path); };
  if (has(kSafetensors) || has(kSafetensorsIndex)) models.push_back(safetensors_in(folder, paths, ggufs));
}

// The snapshots of a repository, each under the branch or tag that leads to it, else under its commit.
std::vector<Folder> snapshots_of(const CachedRepo& repo) {
  std::map<std::string, std::string> revisions;
  for (const auto& [revision, commit] : cached_refs(repo))
    if (std::string& known = revisions[commit]; known.empty() || revision == "main") known = revision;
  const std::vector<std::string> commits = cached_commits(repo);
  std::vector<Folder> folders;
  for (const std::string& commit : commits) {
    const auto known = revisions.find(commit);
    const std::string revision = known == revisions.end() ? commit.substr(0, 12) : known->second;
    const bool plain = revision == "main" || commits.size() == 1;
    folders.push_back({repo.snapshot(commit), repo.repo, plain ? "" : "@" + revision, true});
  }
  return folders;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// GGUF files right in the folder, under their names without ".gguf"; then its folders.
void list_own(const fs::path& folder, std::vector<LocalModel>& models) {
  const std::vector<std::string> names = names_in(folder);
  std::error_code ec;
  std::vector<std::string> files;
  for (const std::string& name : names)
    if (fs::is_regular_file(folder / name, ec)) files.push_back(name);
  for (const GgufModel& gguf : gguf_models(files)) {
    models.push_back(gguf_in({.path = folder, .name = "", .revision = ""}, gguf, true));
    models.back().name = gguf_stem(gguf.files.front());
  }
  for (const std::string& name : names)
    if (fs::is_directory(folder / name, ec))
      list_folder({.path = folder / name, .name = name, .revision = ""}, models);
}

fs::path resolve_in(const fs::path& folder, std::string_view select, const std::string& subject) {
  const std::vector<std::string> paths = snapshot_files(folder);
  FileChoice choice;
  try {
    choice = choose_files(paths, select, subject);
  } catch (const Error& e) {
    throw Error(e.happened() + " on this machine", subject,
                fmt::format("{}; `minke pull` fetches what is not here",
                            e.help().empty() ? "see `minke models`" : e.help()));
  }
  if (!choice.safetensors) return folder / choice.files.front();
  if (!has_all_weights(folder, paths))
    throw Error("some of its weights are missing", subject, "`minke pull` fetches them");
  return folder;
}

fs::path resolve_cached(const CachedRepo& repo, const ModelName& name) {
  const auto commit = cached_commit(repo, name.revision);
  if (!commit)
    throw Error("this model is not on this machine", name.text(),
                fmt::format("`minke pull {}` fetches it", name.text()));
  return resolve_in(repo.snapshot(*commit), name.select, repo.repo);
}

// Cached models by the last part of their name.
std::vector<CachedRepo> repos_called(const fs::path& cache, std::string_view last) {
  std::vector<CachedRepo> found;
  for (CachedRepo& repo : cached_repos(cache))
    if (same_letters(std::string_view(repo.repo).substr(repo.repo.rfind('/') + 1), last))
      found.push_back(std::move(repo));
  return found;
}

// "name", "name:select" of what lies in the user's own folder; nothing where there is no such thing.
std::optional<fs::path> resolve_own(const fs::path& folder, std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string name(text.substr(0, colon));
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) return std::nullopt;
  std::vector<LocalModel> models;
  list_own(folder, models);
  for (const LocalModel& model : models) {
    if (model.name != text) continue;
    if (!model.complete) throw Error("some of its files are missing", std::string(text), model.path.string());
    return model.path;
  }
  std::error_code ec;
  if (!fs::is_directory(folder / name, ec)) return std::nullopt;
  return resolve_in(folder / name, text.substr(std::min(colon + 1, text.size())), name);
}

// Removes empty folders from `folder` up to but without `top`.
void prune(fs::path folder, const fs::path& top) {
  std::error_code ec;
  while (folder != top && folder.has_relative_path() && fs::is_directory(folder, ec) &&
         fs::is_empty(folder, ec)) {
    fs::remove(folder, ec);
    if (ec) return;
    folder = folder.parent_path();
  }
}

void remove_file(const fs::path& file) {
  std::error_code ec;
  fs::remove(file, ec);
  if (ec) throw Error(fmt::format("cannot remove: {}", ec.message()), file.string());
}

// The blob a link of a snapshot leads to, by name; empty where it is no such link.
std::string blob_behind(const fs::path& link) {
  std::error_code ec;
  const fs::path target = fs::read_symlink(link, ec);
  return ec || target.parent_path().filename() != "blobs" ? "" : target.filename().string();
}

std::set<std::string> blobs_in_use(const CachedRepo& repo) {
  std::set<std::string> blobs;
  for (const std::string& commit : cached_commits(repo))
    for (const std::string& path : snapshot_files(repo.snapshot(commit)))
      blobs.insert(blob_behind(repo.snapshot(commit) / path));
  return blobs;
}

// What is left of a repository after its last model went: snapshots without files, their refs, then all of
// it; but not while something is being fetched into it.
void remove_remains(const CachedRepo& repo) {
  std::error_code ec;
  for (const std::string& commit : cached_commits(repo)) {
    if (!snapshot_files(repo.snapshot(commit)).empty()) continue;
    fs::remove_all(repo.snapshot(commit), ec);
    for (const auto& [revision, at] : cached_refs(repo))
      if (at == commit) remove_file(repo.folder() / "refs" / revision);
  }
  const std::vector<std::string> blobs = names_in(repo.folder() / "blobs");
  const bool fetching = std::any_of(blobs.begin(), blobs.end(),
                                    [](const std::string& name) { return name.ends_with(".incomplete"); });
  if (cached_commits(repo).empty() && !fetching) fs::remove_all(repo.folder(), ec);
}

RemovedModel remove_cached(const CachedRepo& repo, const LocalModel& model) {
  std::set<std::string> blobs;
  for (const fs::path& file : model.files) blobs.insert(blob_behind(file));
  blobs.erase("");
  std::vector<FileLock> locks;
  for (const std::string& blob : blobs) {
    auto lock = FileLock::try_lock(repo.lock(blob));
    if (!lock) throw Error("is being fetched right now", model.name);
    locks.push_back(std::move(*lock));
  }
  RemovedModel removed{.files = model.files};
  for (const fs::path& file : model.files) {
    if (blob_behind(file).empty()) removed.bytes += total_size({file});
    remove_file(file);
  }
  const std::set<std::string> in_use = blobs_in_use(repo);
  std::error_code ec;
  for (const std::string& blob : blobs) {
    if (in_use.count(blob)) continue;
    if (!fs::is_symlink(repo.blob(blob), ec)) removed.bytes += total_size({repo.blob(blob)});
    remove_file(repo.blob(blob));
  }
  remove_remains(repo);
  return removed;
}

std::vector<LocalModel> models_of(const CachedRepo& repo) {
  std::vector<LocalModel> models;
  for (const Folder& folder : snapshots_of(repo)) list_folder(folder, models);
  return models;
}

}  // namespace

std::vector<LocalModel> list_models(const ModelPlaces& places) {
  std::vector<LocalModel> models;
  for (const CachedRepo& repo : cached_repos(places.hub_cache))
    for (LocalModel& model : models_of(repo)) models.push_back(std::move(model));
  list_own(places.models, models);
  for (LocalModel& model : models) {
    model.safetensors ? describe_safetensors(model) : describe_gguf(model);
    model.bytes = total_size(model.files);
  }
  return models;
}

fs::path resolve_model(const ModelPlaces& places, std::string_view name) {
  std::error_code ec;
  if (name.empty()) throw Error("no model is named", "", kHowToFetch);
  if (fs::exists(fs::path(name), ec)) return fs::path(name);
  if (auto own = resolve_own(places.models, name)) return *own;
  if (is_model_name(name)) {
    const ModelName parsed = parse_model_name(name);
    return resolve_cached({places.hub_cache, parsed.repo}, parsed);
  }
  const std::string bare(name.substr(0, std::min(name.find_first_of(":@"), name.size())));
  const std::vector<CachedRepo> found = repos_called(places.hub_cache, bare);
  if (found.size() == 1) {
    const ModelName parsed = parse_model_name(found[0].repo + std::string(name.substr(bare.size())));
    return resolve_cached(found[0], parsed);
  }
  if (found.empty())
    throw Error("there is no such file, and no model of this name on this machine", printable(name, 200),
                kHowToFetch);
  std::string names;
  for (const CachedRepo& repo : found) names += (names.empty() ? "" : ", ") + repo.repo;
  throw Error("several models have this name", printable(name, 200), "name one in full: " + names);
}

RemovedModel remove_model(const ModelPlaces& places, std::string_view name) {
  for (const CachedRepo& repo : cached_repos(places.hub_cache))
    for (const LocalModel& model : models_of(repo))
      if (model.name == name) return remove_cached(repo, model);
  std::vector<LocalModel> own;
  list_own(places.models, own);
  for (const LocalModel& model : own) {
    if (model.name != name) continue;
    RemovedModel removed{.files = model.files};
    std::error_code ec;
    for (const fs::path& file : model.files) {
      if (!fs::is_symlink(file, ec)) removed.bytes += total_size({file});
      remove_file(file);
      prune(file.parent_path(), places.models);
    }
    return removed;
  }
  throw Error("no model of this name on this machine", printable(name, 200), "`minke models` lists them");
}

}  // namespace minke
