// Opening a folder of safetensors: the one file, or the shards of an index.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "formats/folder.h"
#include "formats/safetensors.h"

namespace minke {
namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr size_t kMaxIndexBytes = 100'000'000;

using TensorNames = std::vector<std::string_view>;
using Shards = std::map<std::string_view, TensorNames>;  // by file name

// A file beside the index, nothing else.
bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

Shards read_shards(const Json& index) {
  Shards shards;
  for (const auto& [tensor, file] : index.at("weight_map").as_object()) {
    const std::string subject = fmt::format("weight_map of tensor {}", in_quotes(tensor));
    if (!file.is_string())
      throw Error(fmt::format("is {}, a file name is needed", file.type_name()), subject);
    if (!is_plain_file_name(file.as_string()))
      throw Error(fmt::format("names {}, which is no file of this folder", in_quotes(file.as_string())),
                  subject, "download the index again, from a source you trust");
    shards[file.as_string()].push_back(tensor);
  }
  if (shards.empty()) throw Error("the weight_map names no tensor", "", "download it again");
  return shards;
}

// The tensors of the shard are those the index places there.
void check_shard(const Safetensors& shard, TensorNames expected) {
  constexpr const char* kHelp = "index and shards must be of one model: download them again";
  for (const std::string_view name : expected)
    if (!shard.tensor(name))
      throw Error(
          fmt::format("lacks tensor {}, which {} places there", in_quotes(name), kSafetensorsIndexName),
          shard.path().string(), kHelp);
  if (shard.tensors().size() == expected.size()) return;
  std::ranges::sort(expected);
  for (const TensorView& tensor : shard.tensors())
    if (!std::ranges::binary_search(expected, tensor.name))
      throw Error(fmt::format("holds tensor {}, which {} does not place there", in_quotes(tensor.name),
                              kSafetensorsIndexName),
                  shard.path().string(), kHelp);
}

// What else may lie in a folder that has no safetensors, and what to do then.
Error no_weights(const fs::path& folder) {
  std::string help = "download the model's *.safetensors files";
  for (const std::string& file : file_names(folder)) {
    if (file.ends_with(".gguf"))
      help = fmt::format("to run the GGUF file, name it: {}", (folder / file).string());
    if (file.ends_with(".safetensors"))
      help = fmt::format("{} needs {} beside it", file, kSafetensorsIndexName);
    if (file.starts_with("pytorch_model"))
      help = fmt::format("{} is a PyTorch checkpoint: convert it to safetensors", file);
  }
  return Error(fmt::format("holds neither {} nor {}", kWhole, kSafetensorsIndexName), folder.string(), help);
}

}  // namespace

void Safetensors::append(Safetensors shard) {
  for (TensorView& tensor : shard.tensors_) {
    names_.emplace(tensor.name, tensors_.size());
    tensors_.push_back(std::move(tensor));
  }
  std::ranges::move(shard.files_, std::back_inserter(files_));
}

Safetensors Safetensors::open_folder(const fs::path& folder) {
  const fs::path index_path = folder / kSafetensorsIndexName, whole = folder / kWhole;
  if (!is_file(index_path)) {
    if (is_file(whole)) return open(whole);
    throw no_weights(folder);
  }
  const std::string text = read_file(index_path, kMaxIndexBytes);
  Json index;
  Shards shards;
  try {
    index = parse_json(text, {.max_depth = 8, .max_bytes = kMaxIndexBytes});
    shards = read_shards(index);
  } catch (const Error& e) {
    throw e.within(index_path.string());
  }
  if (is_file(whole) && !shards.contains(kWhole))
    throw Error(fmt::format("holds {}, and {} for other files", kWhole, kSafetensorsIndexName),
                folder.string(), "remove the one that is not wanted");
  Safetensors model;
  for (const auto& [name, tensors] : shards) {
    const fs::path path = folder / name;
    if (!is_file(path))
      throw Error(fmt::format("this shard, named in {}, is missing", kSafetensorsIndexName), path.string(),
                  fmt::format("download all {} shards", shards.size()));
    Safetensors shard = open(path);
    check_shard(shard, tensors);
    if (model.files_.empty())
      model = std::move(shard);
    else
      model.append(std::move(shard));
  }
  model.path_ = folder;
  return model;
}

}  // namespace minke
