#pragma once
// A file read from front to back, its content decompressed on the way where it is gzip (RFC 1952) or zstd
// (RFC 8878): told by its first bytes, not by its name.

#include <cstddef>
#include <memory>
#include <span>

#include "base/file.h"

namespace minke {

class InputFile {
 public:
  // Throws Error naming the path.
  explicit InputFile(const fs::path& path);
  InputFile(InputFile&&) noexcept;
  ~InputFile();

  // Fills `to` with what comes next and returns how many bytes those are; fewer than asked, and 0 from then
  // on, where the content ends. Throws Error naming the path: damaged, cut short.
  size_t read(std::span<char> to);
  int64_t consumed() const;  // bytes of the file itself, for progress

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke
