#include "kv/page_key.h"

#include <charconv>
#include <cstring>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

namespace minke {
namespace {

PageKey hash(const void* data, size_t bytes) {
  const XXH128_hash_t h = XXH3_128bits(data, bytes);
  return {h.high64, h.low64};
}

}  // namespace

PageKey first_key(std::string_view identity, std::string_view salt) {
  std::string all(identity);
  all += '\0';
  all += salt;
  return hash(all.data(), all.size());
}

PageKey next_key(const PageKey& before, std::span<const int32_t> tokens) {
  std::vector<std::byte> all(sizeof before + tokens.size_bytes());
  std::memcpy(all.data(), &before, sizeof before);
  std::memcpy(all.data() + sizeof before, tokens.data(), tokens.size_bytes());
  return hash(all.data(), all.size());
}

std::string hex(const PageKey& key) { return fmt::format("{:016x}{:016x}", key.high, key.low); }

bool from_hex(std::string_view text, PageKey& key) {
  if (text.size() != 32) return false;
  const auto half = [&](size_t at, uint64_t& value) {
    const char* end = text.data() + at + 16;
    return std::from_chars(text.data() + at, end, value, 16).ptr == end;
  };
  return half(0, key.high) && half(16, key.low) && hex(key) == text;
}

}  // namespace minke
