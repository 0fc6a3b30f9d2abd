#pragma once
// The codebooks of the IQ1, IQ2 and IQ3 formats: an entry is neighbouring values, the first in the lowest
// byte. blocks.h says how they are used.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace minke {

extern const std::array<uint64_t, 256> kIq2XxsGrid;
extern const std::array<uint64_t, 512> kIq2XsGrid;
extern const std::array<uint64_t, 1024> kIq2SGrid;
extern const std::array<uint32_t, 256> kIq3XxsGrid;
extern const std::array<uint32_t, 512> kIq3SGrid;
// IQ3's as numbers of values, four bits each, and what these are.
extern const std::array<uint16_t, 256> kIq3XxsNumbers;
extern const std::array<uint16_t, 512> kIq3SNumbers;
extern const std::array<uint8_t, 8> kIq3XxsValues, kIq3SValues;
extern const std::array<uint64_t, 2048> kIq1Grid;  // bytes 0, 1, 2 for -1, 0, 1

// The signs of eight weights, bit k set where weight k is negative, from the seven bits some formats keep of
// them: the number of negative ones is even.
inline uint32_t eight_signs(uint32_t seven) {
  return seven | static_cast<uint32_t>(std::popcount(seven) & 1) << 7;
}

}  // namespace minke
