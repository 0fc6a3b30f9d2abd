#pragma once
// Codes of 32 or 256 weights to the bits in which several formats keep them (blocks.h).

#include <cstdint>
#include <cstring>

#include "quant/blocks.h"

namespace minke {

// The 16 bytes of 32 codes: weight l has the low nibble of byte l, weight l + 16 the high one.
inline void pack_nibbles(const uint8_t* codes, uint8_t* bytes) {
  for (int l = 0; l < 16; ++l) bytes[l] = static_cast<uint8_t>((codes[l] & 15) | codes[l + 16] << 4);
}

inline void pack_fifth_bits(const uint8_t* codes, uint8_t bytes[4]) {
  std::memset(bytes, 0, 4);
  for (int e = 0; e < kSmallBlock; ++e)
    bytes[e / 8] = static_cast<uint8_t>(bytes[e / 8] | codes[e] >> 4 << e % 8);
}

// The quarters of 256 codes of two bits, as Q2_K and Q3_K have them.
inline void pack_pairs(const uint8_t* codes, uint8_t bytes[64]) {
  std::memset(bytes, 0, 64);
  for (int e = 0; e < kSuperBlock; ++e) {
    uint8_t& byte = bytes[32 * (e / 128) + e % 32];
    byte = static_cast<uint8_t>(byte | (codes[e] & 3) << 2 * (e % 128 / 32));
  }
}

}  // namespace minke
