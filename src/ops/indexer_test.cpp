#include "ops/indexer.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "ops/test_ops.h"

namespace minke {
namespace {

std::vector<int32_t> largest(const std::vector<float>& scores, int most) {
  std::vector<int32_t> buckets(kScoreBuckets), candidates(scores.size()),
      positions(static_cast<size_t>(most));
  largest_positions(scores.data(), static_cast<int>(scores.size()), most, {buckets.data(), candidates.data()},
                    positions.data());
  return positions;
}

TEST(LargestPositions, AscendingAndTiesToTheLowest) {
  EXPECT_EQ(largest({1, 5, 3, 5, 2}, 2), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(largest({0, 0, 0, 0}, 2), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(largest({0, -0.0f, 7, 0}, 2), (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(largest({-INFINITY, 2, -INFINITY, 1}, 3), (std::vector<int32_t>{0, 1, 3}));
}

TEST(LargestPositions, AsAStableSortWouldTake) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const int n = 2 + static_cast<int>(random.below(random.below(4) ? 3000 : 20000)),
              most = 1 + static_cast<int>(random.below(static_cast<uint64_t>(n - 1)));
    const uint64_t values = 1 + random.below(40);  // few: many ties
    const float unit = random.below(2) ? 1.0f : 1e-4f;
    const bool nans = random.below(3) == 0;
    std::vector<float> scores(static_cast<size_t>(n));
    for (float& s : scores)
      s = nans && random.below(4) == 0 ? NAN : (static_cast<float>(random.below(values)) - 5) * unit;
    std::vector<int32_t> order(scores.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {  // NaN behind everything
      const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
      return std::isnan(y) ? !std::isnan(x) : x > y;
    });
    order.resize(static_cast<size_t>(most));
    std::sort(order.begin(), order.end());
    RC_ASSERT(largest(scores, most) == order);
  }));
}

TEST(Indexer, ScoresAndChoicesAsTheFormulaSays) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const int heads = 1 + static_cast<int>(random.below(80)),
              width = 4 * static_cast<int>(1 + random.below(35));
    KvRow row;
    row.index = {kKvFormats[random.below(kKvFormats.size())], width, 0};
    row = lay_out(row);
    const int position = static_cast<int>(random.below(random.below(4) ? 400 : 9000)),
              count = 1 + static_cast<int>(random.below(6));
    KvView view;
    for (int p = 0; p * kPageTokens < position + count; ++p) view.pages.push_back(p);
    std::reverse(view.pages.begin(), view.pages.end());
    const TestCache cache(random, row, static_cast<int>(view.pages.size()));
    const std::vector<float> q = random_floats(random, int64_t{count} * heads * width),
                             w = random_floats(random, count * heads, 0.1f);
    const int most = 1 + static_cast<int>(random.below(300)), stride = position + count;
    std::vector<int32_t> chosen(static_cast<size_t>(count * most), -7), counts(static_cast<size_t>(count));
    std::vector<float> scores(static_cast<size_t>(count * stride), NAN);
    const minke::Run run{0, count, position, &view};
    const IndexerBatch batch{heads,    width,  most, row.index,     q.data(),
                             w.data(), stride, true, scores.data(), stride};
    TestContext two(2);
    choose_positions(two.ctx, two.work, cache.pool, 0, batch, {&run, 1}, chosen.data(), counts.data());

    for (int r = 0; r < count; ++r) {
      const int visible = position + r + 1;
      std::vector<float> own(scores.begin() + r * stride, scores.begin() + r * stride + visible);
      for (int s = 0; s < visible; s += 17) {
        double wanted = 0, size = 0;
        for (int h = 0; h < heads; ++h) {
          const std::vector<double> query =
              rounded_query(row.index.format, q.data() + (r * heads + h) * width, width);
          double dot = 0;
          for (int i = 0; i < width; ++i)
            dot += query[static_cast<size_t>(i)] * cache.at(row.index, view, s, i);
          wanted += w[static_cast<size_t>(r * heads + h)] * std::max(dot, 0.0);
          size += std::abs(w[static_cast<size_t>(r * heads + h)] * dot);
        }
        RC_ASSERT(std::abs(own[static_cast<size_t>(s)] - wanted) <= 1e-5 * size + 1e-6);
      }
      if (visible <= most) {
        RC_ASSERT(counts[static_cast<size_t>(r)] == -1);
        continue;
      }
      RC_ASSERT(counts[static_cast<size_t>(r)] == most);
      RC_ASSERT(std::vector<int32_t>(chosen.begin() + r * most, chosen.begin() + (r + 1) * most) ==
                largest(own, most));
    }
  }));
}

}  // namespace
}  // namespace minke
