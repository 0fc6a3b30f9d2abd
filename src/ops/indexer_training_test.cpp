#include "ops/indexer_training.h"

#include "ops/test_gradient.h"

namespace minke {
namespace {

const std::vector<Document> kDocuments = {{0, 3}, {3, 41}};  // the second is more than a tile
constexpr int kRows = 44, kHeads = 3, kWidth = 5, kStride = 41, kMost = 4;

struct Input {
  std::vector<float> q, k, w, mass;
};

Input random_input(uint64_t seed) {
  Random random(seed);
  Input in{random_floats(random, kRows * kHeads * kWidth), random_floats(random, kRows * kWidth),
           random_floats(random, kRows * kHeads), random_floats(random, kRows * kStride)};
  for (float& m : in.mass) m = std::abs(m);
  return in;
}

double score(const Doubles& q, const Doubles& k, const Doubles& w, size_t row, size_t key) {
  double sum = 0;
  for (size_t h = 0; h < kHeads; ++h) {
    double dot = 0;
    for (size_t i = 0; i < kWidth; ++i) dot += q[(row * kHeads + h) * kWidth + i] * k[key * kWidth + i];
    sum += w[row * kHeads + h] * std::max(dot, 0.0);
  }
  return sum;
}

// The loss in doubles; selection null: dense.
double reference(const Input& in, const Selection* selection, const Doubles& q, const Doubles& k,
                 const Doubles& w) {
  double loss = 0;
  for (const Document& d : kDocuments)
    for (int p = 0; p < d.count; ++p) {
      const size_t r = static_cast<size_t>(d.first + p);
      std::vector<size_t> seen;
      if (selection && selection->counts[r] >= 0)
        for (int j = 0; j < kMost; ++j)
          seen.push_back(static_cast<size_t>(selection->chosen[static_cast<int>(r) * kMost + j]));
      else
        for (int s = 0; s <= p; ++s) seen.push_back(static_cast<size_t>(s));
      double total = 0, mass = 0;
      for (const size_t s : seen) {
        total += std::exp(score(q, k, w, r, static_cast<size_t>(d.first) + s));
        mass += in.mass[r * kStride + s];
      }
      for (const size_t s : seen) {
        const double target = in.mass[r * kStride + s] / mass;
        loss += target *
                (std::log(target) - score(q, k, w, r, static_cast<size_t>(d.first) + s) + std::log(total));
      }
    }
  return loss / kRows;
}

TEST(IndexerTraining, GradientsOfTheLossInBothStages) {
  const Input in = random_input(1);
  for (const int threads : {1, 3}) {
    TestContext t(threads);
    for (const bool sparse : {false, true}) {
      const IndexerRows rows{kHeads, kWidth, in.q.data(), in.k.data(), in.w.data(), kDocuments};
      std::vector<float> scores(kRows * kStride), dq(in.q.size()), dk(in.k.size()), dw(in.w.size());
      index_scores(t.ctx, t.work, rows, scores.data(), kStride);
      std::vector<int32_t> chosen(kRows * kMost), counts(kRows);
      choose_positions(t.ctx, t.work, kDocuments, scores.data(), kStride, kMost, chosen.data(),
                       counts.data());
      const Selection selection{chosen.data(), counts.data(), kMost};
      const double loss = indexer_loss(t.ctx, kDocuments, sparse ? &selection : nullptr, in.mass.data(),
                                       scores.data(), kStride, 1.0f / kRows);
      index_scores_backward(t.ctx, t.work, rows, scores.data(), kStride, dq.data(), dk.data(), dw.data());
      const Doubles q = doubles(in.q), k = doubles(in.k), w = doubles(in.w);
      const auto f = [&](const Doubles& a, const Doubles& b, const Doubles& c) {
        return reference(in, sparse ? &selection : nullptr, a, b, c);
      };
      const std::string what = sparse ? "sparse " : "dense ";
      EXPECT_NEAR(loss / kRows, f(q, k, w), 1e-6) << what;
      expect_gradient(in.q, dq, [&](const Doubles& at) { return f(at, k, w); }, what + "q");
      expect_gradient(in.k, dk, [&](const Doubles& at) { return f(q, at, w); }, what + "k");
      expect_gradient(in.w, dw, [&](const Doubles& at) { return f(q, k, at); }, what + "w");
    }
  }
}

TEST(IndexerTraining, ChoosesTheBestWhereMoreAreSeen) {
  const Input in = random_input(2);
  TestContext t(2);
  const IndexerRows rows{kHeads, kWidth, in.q.data(), in.k.data(), in.w.data(), kDocuments};
  std::vector<float> scores(kRows * kStride);
  std::vector<int32_t> chosen(kRows * kMost), counts(kRows);
  index_scores(t.ctx, t.work, rows, scores.data(), kStride);
  choose_positions(t.ctx, t.work, kDocuments, scores.data(), kStride, kMost, chosen.data(), counts.data());
  for (const Document& d : kDocuments)
    for (int p = 0; p < d.count; ++p) {
      const size_t r = static_cast<size_t>(d.first + p);
      ASSERT_EQ(counts[r], p < kMost ? -1 : kMost);
      if (p < kMost) continue;
      std::vector<float> row(scores.begin() + static_cast<int64_t>(r) * kStride,
                             scores.begin() + static_cast<int64_t>(r) * kStride + p + 1);
      float least = 1e9f;
      for (size_t j = 0; j < kMost; ++j)
        least = std::min(least, row[static_cast<size_t>(chosen[r * kMost + j])]);
      ASSERT_LT(std::count_if(row.begin(), row.end(), [&](float v) { return v > least; }), kMost);
      ASSERT_GE(std::count_if(row.begin(), row.end(), [&](float v) { return v >= least; }), kMost);
    }
}

}  // namespace
}  // namespace minke
