#include <bit>

#include "base/error.h"
#include "base/random.h"
#include "train/shards.h"

namespace minke {

RowOrder::RowOrder(int64_t rows, uint64_t seed) : rows_(rows), seed_(seed) {
  MINKE_CHECK(rows >= 1);
  half_bits_ = (static_cast<int>(std::bit_width(static_cast<uint64_t>(rows - 1))) + 1) / 2;
}

// A Feistel network permutes the numbers of 2 * half_bits_ bits; those that are no row are permuted again
// until they are (cycle walking; Black and Rogaway 2002). That is a permutation of the rows without a table.
int64_t RowOrder::row(int64_t seen) const {
  constexpr int kRounds = 6;
  const auto stream = static_cast<uint64_t>(epoch(seen));
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto at = static_cast<uint64_t>(seen % rows_);
  do {
    uint64_t left = at >> half_bits_, right = at & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = left ^ (philox(seed_, stream, round << 32 | right)[0] & mask);
      left = right;
      right = mixed;
    }
    at = left << half_bits_ | right;
  } while (at >= static_cast<uint64_t>(rows_));
  return static_cast<int64_t>(at);
}

RankShare rank_share(int64_t seen, int64_t batch, int rank, int world) {
  return {seen + batch * rank / world, seen + batch * (rank + 1) / world};
}

}  // namespace minke
