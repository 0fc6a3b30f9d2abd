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
  // One .safetensors file.
  static Safetensors open(const fs::path& file);
  // A Hugging Face folder: model.safetensors.index.json and its shards, or the one model.safetensors.
  // Throws Error naming the file at fault: a missing shard, a tensor the index places elsewhere, no weights
  // at all.
  static Safetensors open_folder(const fs::path& folder);
  // One file in memory, for tests and fuzzing; the bytes must outlive the result.
  static Safetensors parse(Bytes bytes, std::string_view name);

  const fs::path& path() const { return path_; }
  std::span<const std::pair<std::string, std::string>> metadata() const { return metadata_; }  // __metadata__
  std::span<const TensorView> tensors() const { return tensors_; }  // in file order
  const TensorView* tensor(std::string_view name) const;            // null where absent

 private:
  fs::path path_;
  std::vector<MappedFile> files_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> names_;
};

}  // namespace minke
