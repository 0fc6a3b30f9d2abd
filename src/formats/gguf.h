#pragma once
// GGUF v2 and v3, mapped (MODEL.md 4.2; docs/formats.md). Every count, offset and size is checked before it
// is used.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "formats/tensor_file.h"

namespace minke {

enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// Strings are views into the mapped file. Numbers are widened; an array keeps its elements where they lie.
struct GgufArray {
  GgufType type = GgufType::u8;
  uint64_t count = 0;
  Bytes bytes;  // the elements, unaligned; for strings, their length-prefixed run
};
struct GgufValue {
  GgufType type = GgufType::u8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

const char* type_name(GgufType type);  // "u32", "string"

// Whether Gguf::open takes the file for one part of several: its name ends in -0000K-of-0000N.gguf.
bool is_split_name(const fs::path& path);

class Gguf {
 public:
  // Maps the file; where its name ends in -0000K-of-0000N.gguf, all N parts, whichever was named.
  // Throws Error naming the file, and the key or tensor at fault.
  static Gguf open(const fs::path& path);
  // One part in memory, for tests and fuzzing; the bytes must outlive the result.
  static Gguf parse(Bytes bytes, std::string_view name);

  const fs::path& path() const { return path_; }
  uint32_t version() const { return version_; }

  // Metadata in file order (of the first part; the keys of the others are checked, not kept).
  std::span<const std::pair<std::string, GgufValue>> metadata() const { return metadata_; }
  const GgufValue* find(std::string_view key) const;  // null where absent
  // Each returns nothing where the key is absent and throws Error naming the key where its type does not fit.
  // Any integer width serves an integer, and an integer serves a number.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key) const;
  std::optional<std::vector<std::string_view>> strings(std::string_view key) const;

  // Tensors of all parts, in file order. shape is slowest first (the reverse of GGUF's ne). Data is aligned
  // to 8 bytes at least.
  std::span<const TensorView> tensors() const { return tensors_; }
  std::span<const MappedFile> files() const { return files_; }  // the parts; none after parse
  const TensorView* tensor(std::string_view name) const;        // null where absent

 private:
  void append(Gguf part);
  void check_whole(bool split) const;

  fs::path path_;
  uint32_t version_ = 0;
  std::vector<MappedFile> files_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::map<std::string, size_t, std::less<>> keys_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> names_;
};

}  // namespace minke
