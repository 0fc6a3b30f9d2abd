#include "train/packing.h"

#include <numeric>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace minke {
namespace {

TEST(Packing, NothingThatFitsIsCut) {
  rc::check([] {
    const int row = *rc::gen::inRange(1, 50);
    const auto tokens = *rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange<uint32_t>(1, 120));
    std::vector<uint32_t> order(tokens.size());
    std::iota(order.begin(), order.end(), 0);
    std::set<uint32_t> seen;
    uint64_t at = 0;
    const auto length = static_cast<uint64_t>(row);
    for (const Placed& p : pack_whole(order, tokens, row)) {
      RC_ASSERT(p.tokens > 0u);
      const uint64_t end = at + p.tokens;
      if (p.document == Placed::kPadding) {
        RC_ASSERT(end % length == 0 && p.tokens < length);
      } else {
        RC_ASSERT(seen.insert(p.document).second);
        RC_ASSERT(p.tokens == tokens[p.document]);
        if (p.tokens <= length)
          RC_ASSERT(at / length == (end - 1) / length);
        else
          RC_ASSERT(at % length == 0u);
      }
      at = end;
    }
    RC_ASSERT(at % length == 0u);
    RC_ASSERT(seen.size() == tokens.size());
  });
}

TEST(Packing, FillsRowsWell) {
  std::vector<uint32_t> tokens, order;
  for (uint32_t i = 0; i < 2000; ++i) {
    tokens.push_back(1 + i * 7919 % 900);
    order.push_back(i);
  }
  uint64_t padding = 0, all = 0;
  for (const Placed& p : pack_whole(order, tokens, 1000)) {
    all += p.tokens;
    if (p.document == Placed::kPadding) padding += p.tokens;
  }
  EXPECT_LT(static_cast<double>(padding) / static_cast<double>(all), 0.02);
}

}  // namespace
}  // namespace minke
