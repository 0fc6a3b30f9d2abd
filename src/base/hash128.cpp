#include "base/hash128.h"

#include <charconv>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

namespace minke {

Hash128 hash128(Bytes bytes, uint64_t seed) {
  const XXH128_hash_t h = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
  return {h.high64, h.low64};
}

std::string hex(const Hash128& hash) { return fmt::format("{:016x}{:016x}", hash.high, hash.low); }

bool from_hex(std::string_view text, Hash128& hash) {
  if (text.size() != 32) return false;
  const auto half = [&](size_t at, uint64_t& value) {
    const char* end = text.data() + at + 16;
    return std::from_chars(text.data() + at, end, value, 16).ptr == end;
  };
  return half(0, hash.high) && half(16, hash.low) && hex(hash) == text;
}

struct Hasher128::State {
  XXH3_state_t xxh;
};

Hasher128::Hasher128() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Hasher128::~Hasher128() = default;

void Hasher128::add(Bytes bytes) { XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size()); }

Hash128 Hasher128::hash() const {
  const XXH128_hash_t h = XXH3_128bits_digest(&state_->xxh);
  return {h.high64, h.low64};
}

}  // namespace minke
