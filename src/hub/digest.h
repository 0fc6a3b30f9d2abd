#pragma once
// SHA-256 and git's SHA-1 of a blob, fed piece by piece.

#include <cstdint>
#include <memory>
#include <string>

#include "base/file.h"

namespace minke {

enum class DigestKind {
  sha256,
  git_blob,  // SHA-1 over "blob SIZE\0" and the content: git's name for a file
};

class Digest {
 public:
  Digest(DigestKind kind, uint64_t size);  // size: of the whole content; used by git_blob
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void add(Bytes bytes);
  std::string hex();  // lower case; ends the digest

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether text is that many lower-case hexadecimal digits: 64 of a SHA-256, 40 of a SHA-1 or a commit.
bool is_hex(std::string_view text, size_t digits);

}  // namespace minke
