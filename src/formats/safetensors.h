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

// Where tensors go on in a further file so that each has about `most_bytes`: one past the last of each file.
std::vector<size_t> shard_ends(std::span<const TensorView> tensors, int64_t most_bytes);

// A folder's files of weights: model.safetensors, or model-00001-of-00002.safetensors and so on with
// model.safetensors.index.json beside them.
struct SafetensorsShards {
  struct Shard {
    std::string name, header;
    size_t begin, end;  // of its tensors, whose bytes follow the header
  };
  std::vector<Shard> shards;
  std::string index;  // the text of the index; empty with one file
};
constexpr const char* kSafetensorsIndexName = "model.safetensors.index.json";

// Throws Error as safetensors_header.
SafetensorsShards safetensors_shards(std::span<const TensorView> tensors, std::span<const size_t> ends);

}  // namespace minke
