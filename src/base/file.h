#pragma once
// Files: mapped for reading, written so that a reader sees the old content or the new, never half of it.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace minke {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A whole file mapped read-only and shared, at an address that huge pages can lie at. Moving keeps the
// addresses; the mapping ends with the object.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error naming the path: missing, unreadable, a directory. An empty file maps to an empty span.
  explicit MappedFile(const fs::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  Bytes bytes() const { return {data_, size_}; }
  const fs::path& path() const { return path_; }
  int descriptor() const { return fd_; }  // open for reading; -1 where the file is empty

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int fd_ = -1;
};

// Reads every page of a mapped piece, so that none has to be waited for later.
void read_in(Bytes mapped);

// The whole file as a string. Throws Error naming the path, also when it is larger than max_bytes.
std::string read_file(const fs::path& path, size_t max_bytes = size_t{1} << 30);

// What a file of the kernel's (/proc, /sys) says, whose size nobody knows before. Throws Error naming the
// path.
std::string read_kernel_file(const fs::path& path);

// Writes to "PATH.partial-..." beside the target; commit() syncs and renames. Without commit nothing is left
// behind.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);  // throws Error naming the path
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(Bytes bytes);  // appends; throws Error ("disk full" among others)
  void write_at(uint64_t offset, Bytes bytes);
  void commit();

 private:
  [[noreturn]] void failed(const char* doing) const;

  fs::path path_, temporary_;
  int fd_ = -1;
  uint64_t size_ = 0;
  bool committed_ = false;
};

void write_file(const fs::path& path, std::string_view text);  // through AtomicFile

}  // namespace minke
