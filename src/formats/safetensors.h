#pragma once
// Safetensors, one file or shards with an index, mapped (MODEL.md 4.3; docs/formats.md).

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/tensor_file.h"

namespace minke {

class Safetensors {
 public:
  // One .safetensors file. Throws Error naming the file, and the tensor at fault.
  static Safetensors open(const fs::path& file);
  // A folder with model.safetensors.index.json and its shards, or with the one model.safetensors. Throws
  // Error naming the file at fault: no weights, a missing shard, a tensor that is not where the index says.
  static Safetensors open_folder(const fs::path& folder);
  // One file in memory, for tests and fuzzing; the bytes must outlive the result.
  static Safetensors parse(Bytes bytes, std::string_view name);

  const fs::path& path() const { return path_; }
  // __metadata__, of the first shard.
  std::span<const std::pair<std::string, std::string>> metadata() const { return metadata_; }
  std::span<const TensorView> tensors() const { return tensors_; }  // by shard and place
  const TensorView* tensor(std::string_view name) const;            // null where absent
  std::span<const MappedFile> files() const { return files_; }      // the shards; none after parse

 private:
  void append(Safetensors shard);

  fs::path path_;
  std::vector<MappedFile> files_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> names_;
};

// What a file with these tensors begins with; their bytes follow in the order given. Only names, types and
// shapes are looked at. Wide elements should come first, so that all are aligned. Throws Error naming the
// tensor where its type has no name in safetensors or its name is not its own.
std::string safetensors_header(std::span<const TensorView> tensors,
                               std::span<const std::pair<std::string, std::string>> metadata = {});

// Writes one file, atomically: the tensors with their bytes, those of wide elements first. Throws Error as
// safetensors_header, or naming the path.
void save_safetensors(const fs::path& file, std::span<const TensorView> tensors,
                      std::span<const std::pair<std::string, std::string>> metadata = {});

// The folder's list of shards: model.safetensors.index.json. shard_of: the file of each tensor.
std::string safetensors_index(std::span<const std::pair<std::string, std::string>> shard_of,
                              int64_t total_bytes);

}  // namespace minke
