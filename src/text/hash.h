#pragma once
// Hashes for tables in memory: fast on the short keys of tokenizers, the same on every machine of one byte
// order.

#include <cstdint>
#include <cstring>
#include <string_view>

namespace minke {

inline uint64_t mix_bits(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93;
  return x ^ x >> 32;
}

// Up to 8 bytes as a number; bytes that are not there count as zero.
inline uint64_t load_bytes(const char* p, size_t n) {
  uint64_t value = 0;
  if (n >= 8) {
    std::memcpy(&value, p, 8);
  } else if (n >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + n - 4, 4);
    value = low | static_cast<uint64_t>(high) << 8 * (n - 4);
  } else if (n > 0) {
    value = static_cast<unsigned char>(p[0]);
    if (n > 1) value |= static_cast<uint64_t>(static_cast<unsigned char>(p[1])) << 8;
    if (n > 2) value |= static_cast<uint64_t>(static_cast<unsigned char>(p[2])) << 16;
  }
  return value;
}

inline uint64_t hash_bytes(std::string_view bytes) {
  uint64_t h = bytes.size() * 0x9E3779B97F4A7C15;
  while (bytes.size() > 8) {
    h = mix_bits(h ^ load_bytes(bytes.data(), 8));
    bytes.remove_prefix(8);
  }
  return mix_bits(h ^ load_bytes(bytes.data(), bytes.size()));
}

}  // namespace minke
