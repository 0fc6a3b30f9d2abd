#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "ops/test_ops.h"

namespace minke {
namespace {

struct Expected {
  std::vector<double> out, slack;  // slack: what rounding the weights may change
};

// What rounding the weights of the keys seen[first ..], of one page, to bytes may add to number i of the
// sum: half a step for each, a step being 1/255 of the largest product of weight and scale.
double byte_slack(const TestCache& cache, const AttentionShape& s, const KvView& view,
                  std::span<const int> seen, std::span<const double> weights, int i) {
  double largest = 0, codes = 0;
  for (size_t k = 0; k < seen.size(); ++k) {
    const double scale = cache.scale_at(s.values, view, seen[k], i);
    largest = std::max(largest, weights[k] * scale);
    if (scale > 0) codes += std::abs(cache.at(s.values, view, seen[k], i)) / scale;
  }
  return largest / 255 / 2 * codes;
}

// Softmax over the positions `seen`, in doubles; the query rounded as the cache is. Chunks of keys are
// counted from position 0, or among what is seen where it was gathered.
Expected reference(const TestCache& cache, const AttentionShape& s, const KvView& view, const float* q,
                   int head, const std::vector<int>& seen, bool gathered = false) {
  const KvFormat format = s.keys.format;
  const int kv_head = head / (s.heads / s.kv_heads);
  const std::vector<double> query = rounded_query(format, q, s.query_width);
  std::vector<double> weights;
  for (const int t : seen) {
    double dot = 0;
    for (int i = 0; i < s.query_width; ++i)
      dot += query[static_cast<size_t>(i)] * cache.at(s.keys, view, t, kv_head * s.keys.head_width() + i);
    weights.push_back(dot);
  }
  const double peak = *std::max_element(weights.begin(), weights.end());
  double mass = 0;
  for (double& w : weights) mass += w = std::exp(w - peak);
  Expected e;
  for (int i = 0; i < s.value_width; ++i) {
    const int column = kv_head * s.values.head_width() + i;
    double sum = 0, size = 0, slack = 0;
    for (size_t k = 0; k < seen.size(); ++k) {
      const double v = cache.at(s.values, view, seen[k], column);
      sum += weights[k] * v;
      size += weights[k] * std::abs(v);
    }
    // Each weight is off by 2^-9 of itself at most, and so is their sum.
    if (format == KvFormat::bf16 || format == KvFormat::fp8) slack = size * 0x1p-8;
    const auto page = [&](size_t k) { return (gathered ? static_cast<int>(k) : seen[k]) / kPageTokens; };
    for (size_t k = 0; format == KvFormat::int8 && k < seen.size();) {
      size_t end = k;
      while (end < seen.size() && page(end) == page(k)) ++end;
      slack += byte_slack(cache, s, view, std::span(seen).subspan(k, end - k),
                          std::span(weights).subspan(k, end - k), column);
      k = end;
    }
    e.out.push_back(sum / mass);
    e.slack.push_back(2e-5 + slack / mass);
  }
  return e;
}

void expect_near(const float* given, const Expected& wanted) {
  for (size_t i = 0; i < wanted.out.size(); ++i)
    RC_ASSERT(std::abs(given[i] - wanted.out[i]) < wanted.slack[i]);
}

struct Drawn {
  AttentionShape shape;
  KvRow row;
  std::vector<KvView> views;
  std::vector<Run> runs;
  int rows = 0, pages = 0;
};

// Sequences of random lengths, the pages of all of them shuffled.
Drawn draw(Random& random, int longest) {
  Drawn d;
  const bool latent = random.below(2);
  const KvFormat format = kKvFormats[random.below(kKvFormats.size())];
  AttentionShape& s = d.shape;
  if (latent) {  // absorbed: values are the first numbers of the key
    const int width = random.below(2) ? 24 : 160;
    s = {static_cast<int>(1 + random.below(20)), 1, width, width / 3 * 2, {}, {}};
    d.row.latent = {format, width, 0};
    d.row = lay_out(d.row);
    s.keys = s.values = d.row.latent;
  } else {
    const int kv_heads = 1 + static_cast<int>(random.below(3)),
              width = 2 * static_cast<int>(1 + random.below(random.below(2) ? 20 : 70));
    s = {kv_heads * static_cast<int>(1 + random.below(5)), kv_heads, width, width, {}, {}};
    d.row.key = d.row.value = {format, kv_heads * width, 0, kv_heads};
    d.row = lay_out(d.row);
    s.keys = d.row.key;
    s.values = d.row.value;
    if (random.below(2)) s.chunk = 1 + static_cast<int>(random.below(100));
  }
  std::vector<int32_t> pages;
  const int n = 1 + static_cast<int>(random.below(4));
  d.views.resize(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) {
    const int position = static_cast<int>(random.below(static_cast<uint64_t>(longest)));
    const int count = 1 + static_cast<int>(random.below(random.below(2) ? 1 : 40));
    for (int p = 0; p * kPageTokens < position + count; ++p)
      d.views[static_cast<size_t>(i)].pages.push_back(d.pages++);
    d.runs.push_back({d.rows, count, position, &d.views[static_cast<size_t>(i)]});
    d.rows += count;
  }
  std::vector<int32_t> order(static_cast<size_t>(d.pages));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (KvView& v : d.views)
    for (int32_t& p : v.pages) p = order[static_cast<size_t>(p)];
  return d;
}

TEST(Attention, AsTheFormulaSaysAndAloneAsInABatch) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Drawn d = draw(random, random.below(4) ? 300 : 5000);  // beyond a span of 2048, too
    const AttentionShape& s = d.shape;
    const TestCache cache(random, d.row, d.pages);
    const std::vector<float> q = random_floats(random, int64_t{d.rows} * s.heads * s.query_width, 0.5f);
    const int width = s.heads * s.value_width;
    std::vector<float> out(static_cast<size_t>(d.rows * width), NAN), again(out);
    TestContext one(1), three(3);
    attention(three.ctx, three.work, cache.pool, 0, s, d.runs, q.data(), out.data());

    for (const minke::Run& run : d.runs) {
      for (int i = 0; i < run.count; ++i) {
        const int position = run.position + i, row = run.row + i;
        if (i > 0 && random.below(8) > 0) continue;
        std::vector<int> seen;
        for (int t = s.chunk ? position / s.chunk * s.chunk : 0; t <= position; ++t) seen.push_back(t);
        const int head = static_cast<int>(random.below(static_cast<uint64_t>(s.heads)));
        expect_near(
            out.data() + row * width + head * s.value_width,
            reference(cache, s, *run.kv, q.data() + (row * s.heads + head) * s.query_width, head, seen));
      }
    }
    // Token by token and alone, on one thread: the same bits.
    for (const minke::Run& run : d.runs) {
      for (int i = 0; i < run.count; ++i) {
        const minke::Run single{run.row + i, 1, run.position + i, run.kv};
        attention(one.ctx, one.work, cache.pool, 0, s, {&single, 1}, q.data(), again.data());
      }
    }
    RC_ASSERT(std::memcmp(out.data(), again.data(), out.size() * 4) == 0);
  }));
}

TEST(SparseAttention, SeesTheChosenPositionsOnly) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Drawn d = draw(random, 700);
    while (d.shape.kv_heads != 1 || d.row.latent.width == 0) d = draw(random, 700);
    for (size_t i = 0; i < d.runs.size(); ++i) d.runs[i].kv = &d.views[i];
    const AttentionShape& s = d.shape;
    const TestCache cache(random, d.row, d.pages);
    const std::vector<float> q = random_floats(random, int64_t{d.rows} * s.heads * s.query_width, 0.5f);
    const int most = 1 + static_cast<int>(random.below(300));
    std::vector<int32_t> chosen(static_cast<size_t>(d.rows * most)), counts(static_cast<size_t>(d.rows));
    for (const minke::Run& run : d.runs) {
      for (int i = 0; i < run.count; ++i) {
        const int visible = run.position + i + 1, row = run.row + i;
        counts[static_cast<size_t>(row)] = visible > most ? most : -1;
        std::vector<int32_t> all(static_cast<size_t>(visible));
        std::iota(all.begin(), all.end(), 0);
        for (size_t k = all.size(); k > 1; --k) std::swap(all[k - 1], all[random.below(k)]);
        if (visible > most) {
          std::sort(all.begin(), all.begin() + most);
          std::copy_n(all.begin(), most, chosen.begin() + row * most);
        }
      }
    }
    const int width = s.heads * s.value_width;
    std::vector<float> out(static_cast<size_t>(d.rows * width), NAN), dense(out);
    TestContext two(2);
    sparse_attention(two.ctx, two.work, cache.pool, 0, s, d.runs, {chosen.data(), counts.data(), most},
                     q.data(), out.data());
    attention(two.ctx, two.work, cache.pool, 0, s, d.runs, q.data(), dense.data());
    for (const minke::Run& run : d.runs) {
      for (int i = 0; i < run.count; ++i) {
        const int row = run.row + i, head = static_cast<int>(random.below(static_cast<uint64_t>(s.heads)));
        const float* given = out.data() + row * width;
        if (counts[static_cast<size_t>(row)] < 0) {  // all are seen: dense to the bit
          RC_ASSERT(std::memcmp(given, dense.data() + row * width, static_cast<size_t>(width) * 4) == 0);
          continue;
        }
        const std::vector<int> seen(chosen.begin() + row * most, chosen.begin() + (row + 1) * most);
        expect_near(given + head * s.value_width,
                    reference(cache, s, *run.kv, q.data() + (row * s.heads + head) * s.query_width, head,
                              seen, true));
      }
    }
  }));
}

}  // namespace
}  // namespace minke
