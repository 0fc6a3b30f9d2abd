#pragma once
// Writes GGUF v3 (MODEL.md 4.2): metadata and the list of tensors first, then their bytes, streamed.

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "formats/gguf.h"

namespace minke {

// Use: add() every key, declare() every tensor, write() the bytes of all tensors in the order declared,
// commit(). The file appears under its name at commit, whole; without it nothing is left behind.
class GgufWriter {
 public:
  explicit GgufWriter(const fs::path& path);  // throws Error naming the path

  void add(std::string_view key, const GgufValue& value);  // also what another file's metadata holds
  void add(std::string_view key, std::span<const std::string> strings);
  void add(std::string_view key, std::span<const int32_t> integers);
  void add(std::string_view key, std::span<const float> numbers);

  // Name, type and shape of the next tensor; its bytes are not looked at.
  // Throws Error naming the tensor where GGUF cannot hold it: its type, its name's length, its number of
  // dimensions.
  void declare(const TensorView& tensor);

  void write(Bytes bytes);  // of the first tensor that is not whole yet, any part of what it lacks
  void commit();            // throws Error naming the path

 private:
  void write_header();
  void pad(uint64_t written);

  AtomicFile file_;
  std::string entries_, infos_;
  uint64_t entry_count_ = 0, tensor_count_ = 0, data_bytes_ = 0;
  uint64_t written_ = 0;          // bytes of the tensor being written
  std::deque<uint64_t> lacking_;  // bytes of the tensors not yet whole
  bool header_written_ = false;
};

}  // namespace minke
