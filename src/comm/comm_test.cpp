// Run alone; and with the argument `ranks` under mpirun, by tests/e2e/ranks_test.py.

#include <numeric>
#include <string_view>

#include <gtest/gtest.h>

#include "comm/collectives.h"
#include "comm/mpi.h"

namespace minke {
namespace {

Comm the_ranks;
const Comm& ranks() { return the_ranks; }

// Different on every rank; sums of them depend on their order.
std::vector<float> numbers(int rank, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = 1.0f / static_cast<float>(1 + (i * 7 + static_cast<size_t>(rank) * 13) % 101);
  return values;
}

const std::vector<size_t> kCounts = {1, 15, 16, 17, 63, 64, 1000, 1024, 300'000};

TEST(RingShare, SharesCoverAllInWholeLines) {
  for (const int64_t count : {0, 1, 16, 17, 100, 1024, 1000})
    for (int size = 1; size < 9; ++size) {
      int64_t at = 0;
      for (int r = 0; r < size; ++r) {
        const RingShare share = ring_share(count, size, r);
        EXPECT_EQ(share.begin, at);
        EXPECT_TRUE(share.begin % 16 == 0 || share.begin == count);
        at = share.end;
      }
      EXPECT_EQ(at, count);
    }
}

TEST(Collectives, ASumIsThatOfAllRanksAndAgreesWithItsHalvesToTheBit) {
  const Comm& all = ranks();
  for (const size_t count : kCounts) {
    std::vector<double> expected(count, 0.0);
    for (int r = 0; r < all.size; ++r) {
      const std::vector<float> values = numbers(r, count);
      for (size_t i = 0; i < count; ++i) expected[i] += double{values[i]};
    }
    std::vector<float> whole = numbers(all.rank, count), halves = whole;
    start_sum(all, whole).finish();
    start_reduce_scatter(all, halves).finish();
    const RingShare mine = ring_share(static_cast<int64_t>(count), all.size, all.rank);
    for (int64_t i = 0; i < static_cast<int64_t>(count); ++i)
      if (i < mine.begin || i >= mine.end) halves[static_cast<size_t>(i)] = -1;
    start_all_gather(all, halves).finish();
    EXPECT_EQ(whole, halves) << count;
    for (size_t i = 0; i < count; ++i) ASSERT_NEAR(whole[i], expected[i], 1e-5) << count;
    std::vector<float> of_first = whole;
    broadcast(all, std::as_writable_bytes(std::span(of_first)));
    EXPECT_EQ(whole, of_first) << "all ranks have the same bits";
  }
}

TEST(Collectives, SumsUnderWayTogetherDoNotMix) {
  const Comm& all = ranks();
  std::vector<std::vector<float>> values;
  for (const size_t count : kCounts) values.push_back(numbers(all.rank, count));
  std::vector<Pending> pending;
  for (auto& v : values) {
    pending.push_back(start_sum(all, v));
    for (Pending& p : pending) p.advance();
  }
  for (size_t i = pending.size(); i-- > 0;) pending[i].finish();
  for (size_t i = 0; i < kCounts.size(); ++i) {
    std::vector<float> alone = numbers(all.rank, kCounts[i]);
    start_sum(all, alone).finish();
    EXPECT_EQ(values[i], alone);
  }
}

TEST(Collectives, DoublesAndIntegersAreAddedUp) {
  const Comm& all = ranks();
  std::vector<double> d = {0.5 * all.rank, 1};
  std::vector<int64_t> n = {all.rank, 1, int64_t{1} << 40};
  sum(all, d);
  sum(all, n);
  const int pairs = all.size * (all.size - 1) / 2;
  EXPECT_EQ(d, (std::vector<double>{0.5 * pairs, 1.0 * all.size}));
  EXPECT_EQ(n, (std::vector<int64_t>{pairs, all.size, (int64_t{1} << 40) * all.size}));
}

TEST(Collectives, RowsGoToWhomTheyAreForAndBack) {
  const Comm& all = ranks();
  std::vector<int64_t> out_rows, in_rows;  // from rank a to rank b: (a + 2 b) % 3
  for (int r = 0; r < all.size; ++r) {
    out_rows.push_back((all.rank + 2 * r) % 3);
    in_rows.push_back((r + 2 * all.rank) % 3);
  }
  std::vector<int32_t> out, expected;
  for (int r = 0; r < all.size; ++r) {
    for (int64_t i = 0; i < out_rows[static_cast<size_t>(r)]; ++i)
      out.insert(out.end(), {all.rank, r, static_cast<int32_t>(i)});
    for (int64_t i = 0; i < in_rows[static_cast<size_t>(r)]; ++i)
      expected.insert(expected.end(), {r, all.rank, static_cast<int32_t>(i)});
  }
  std::vector<int32_t> in(expected.size()), back(out.size());
  const auto bytes = [](std::vector<int32_t>& v) { return reinterpret_cast<std::byte*>(v.data()); };
  all_to_all(all, {bytes(out), out_rows, bytes(in), in_rows, 12});
  EXPECT_EQ(in, expected);
  all_to_all(all, {bytes(in), in_rows, bytes(back), out_rows, 12});
  EXPECT_EQ(back, out);
}

TEST(Collectives, GatheredAndBroadcast) {
  const Comm& all = ranks();
  std::vector<int64_t> counts;
  for (int r = 0; r < all.size; ++r) counts.push_back(r % 3);
  const std::vector<float> mine(static_cast<size_t>(all.rank % 3), static_cast<float>(all.rank));
  std::vector<float> gathered(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0}))),
      expected;
  for (int r = 0; r < all.size; ++r) expected.insert(expected.end(), static_cast<size_t>(r % 3), r);
  gather(all, mine, counts, gathered.data());
  if (all.rank == 0) {
    EXPECT_EQ(gathered, expected);
  }
  EXPECT_EQ(broadcast(all, all.rank == 0 ? std::string("of the first") : std::string()), "of the first");
  barrier(all);
}

TEST(Collectives, AGroupIsThoseOfOneColour) {
  const Comm& all = ranks();
  const Comm half = split(all, all.rank % 2);
  EXPECT_EQ(half.size, (all.size + 1 - all.rank % 2) / 2);
  std::vector<int64_t> sum_of = {all.rank};
  sum(half, sum_of);
  int64_t expected = 0;
  for (int r = all.rank % 2; r < all.size; r += 2) expected += r;
  EXPECT_EQ(sum_of[0], expected);
}

TEST(Collectives, TrafficIsCountedAsItIsSaidBefore) {
  const Comm& all = ranks();
  std::vector<float> values(1024 * 12);
  int64_t before = traffic(all).bytes;
  start_sum(all, values).finish();
  const double bytes = static_cast<double>(values.size() * sizeof(float));
  EXPECT_EQ(static_cast<double>(traffic(all).bytes - before), sum_traffic(bytes, all.size));
  before = traffic(all).bytes;
  start_reduce_scatter(split(all, 0), values).finish();
  EXPECT_EQ(static_cast<double>(traffic(all).bytes - before), sum_traffic(bytes, all.size) / 2);
}

}  // namespace
}  // namespace minke

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const bool joins = argc > 1 && std::string_view(argv[1]) == "ranks";
  if (joins) minke::the_ranks = minke::join_ranks();
  const int failed = RUN_ALL_TESTS();
  if (joins && failed) minke::end_all_ranks(1);
  if (joins) minke::leave_ranks();
  minke::the_ranks = {};
  return failed;
}
