#pragma once
// XXH3 in 128 bits (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): checksums, and names by
// content. It finds damage, and keeps apart what nobody has made to look alike.

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"

namespace minke {

// In files: `high` first, each half little-endian.
struct Hash128 {
  uint64_t high = 0, low = 0;
  auto operator<=>(const Hash128&) const = default;
};

Hash128 hash128(Bytes bytes, uint64_t seed = 0);
inline Hash128 hash128(std::string_view text) { return hash128(as_bytes(text)); }

std::string hex(const Hash128& hash);                 // 32 digits, the highest first
bool from_hex(std::string_view text, Hash128& hash);  // false where text is none

// The hash of bytes that come in pieces: that of all of them in a row.
class Hasher128 {
 public:
  Hasher128();
  ~Hasher128();
  void add(Bytes bytes);
  void add(std::string_view text) { add(as_bytes(text)); }
  Hash128 hash() const;  // of all so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace minke
