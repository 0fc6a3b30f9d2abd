#pragma once
// Which document lies where in the stream.

#include <cstdint>
#include <span>
#include <vector>

namespace minke {

// A document, or so many tokens of padding.
struct Placed {
  static constexpr uint32_t kPadding = UINT32_MAX;
  uint32_t document;
  uint32_t tokens;
};

// Documents (their tokens, in the order they shall be taken) put into rows: each into the row with the least
// room that still has enough (best fit), of some rows that are open at a time. A longer document begins a row
// and ends in another. What is left of a row is padding. Every row is full.
std::vector<Placed> pack_whole(std::span<const uint32_t> order, std::span<const uint32_t> tokens, int row);

}  // namespace minke
