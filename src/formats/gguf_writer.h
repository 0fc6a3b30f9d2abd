#pragma once
// Writes GGUF v3 (MODEL.md 4.2): metadata and the list of tensors first, then their bytes, streamed.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace minke {

constexpr uint64_t kGgufAlignment = 32;

// What stands before the tensors' bytes: add() every key, declare() every tensor, and take the bytes().
class GgufHeader {
 public:
  void add(std::string_view key, const GgufValue& value);  // also what another file's metadata holds
  void add(std::string_view key, std::span<const std::string> strings);
  void add(std::string_view key, std::span<const std::string_view> strings);
  void add(std::string_view key, std::span<const int32_t> integers);
  void add(std::string_view key, std::span<const float> numbers);

  // Name, type and shape of the next tensor; its bytes are not looked at.
  // Throws Error naming the tensor where GGUF cannot hold it: its type, its name's length, its number of
  // dimensions.
  void declare(const TensorView& tensor);

  std::string bytes() const;                                  // padded: the first tensor follows
  std::span<const uint64_t> sizes() const { return sizes_; }  // of the tensors declared, without padding
  uint64_t data_bytes() const { return data_bytes_; }         // of all tensors, each with its padding

 private:
  std::string entries_, infos_;
  uint64_t entry_count_ = 0, data_bytes_ = 0;
  std::vector<uint64_t> sizes_;
};

// The zeroes that follow so many bytes, up to the alignment.
Bytes gguf_padding(uint64_t bytes);

// Use: add() every key, declare() every tensor, write() the bytes of all tensors in the order declared,
// commit(). The file appears under its name at commit, whole; without it nothing is left behind.
class GgufWriter {
 public:
  explicit GgufWriter(const fs::path& path);  // throws Error naming the path

  // As GgufHeader's.
  void add(std::string_view key, const GgufValue& value) { header_.add(key, value); }
  void add(std::string_view key, std::span<const std::string> strings) { header_.add(key, strings); }
  void add(std::string_view key, std::span<const int32_t> integers) { header_.add(key, integers); }
  void add(std::string_view key, std::span<const float> numbers) { header_.add(key, numbers); }
  void declare(const TensorView& tensor);

  void write(Bytes bytes);  // of the first tensor that is not whole yet, any part of what it lacks
  void commit();            // throws Error naming the path

 private:
  void write_header();

  AtomicFile file_;
  GgufHeader header_;
  size_t tensor_ = 0;     // the one being written
  uint64_t written_ = 0;  // bytes of it
  bool header_written_ = false;
};

}  // namespace minke
