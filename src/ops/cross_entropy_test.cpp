#include "ops/cross_entropy.h"

#include "ops/test_gradient.h"

namespace minke {
namespace {

TEST(CrossEntropy, GradientsAreThoseOfTheMeanOverCountedRows) {
  Random random(1);
  constexpr int kRows = kLossRows + 9, kDim = 6, kVocab = 11, kCounted = 4;  // more than one piece of rows
  const auto x = random_floats(random, kRows * kDim), head = random_floats(random, kVocab * kDim);
  std::vector<int32_t> targets(kRows, -1);
  for (const size_t r : {size_t{0}, size_t{3}, size_t{200}, size_t{kRows - 1}})
    targets[r] = static_cast<int32_t>(random.below(kVocab));
  const auto f = [&](const Doubles& rows, const Doubles& w) {
    double loss = 0;
    for (size_t r = 0; r < targets.size(); ++r) {
      if (targets[r] < 0) continue;
      Doubles logits(kVocab);
      double total = 0;
      for (size_t v = 0; v < kVocab; ++v) {
        for (size_t i = 0; i < kDim; ++i) logits[v] += rows[r * kDim + i] * w[v * kDim + i];
        total += std::exp(logits[v]);
      }
      loss += std::log(total) - logits[static_cast<size_t>(targets[r])];
    }
    return loss / kCounted;
  };
  for (const int threads : {1, 2}) {
    TestContext t(threads);
    const Mat w{
        reinterpret_cast<const std::byte*>(head.data()), nullptr, Format::f32, kVocab, kDim, kDim * 4};
    std::vector<float> logits(kLossRows * kVocab), dx(x.size()), dhead(head.size());
    const double loss = head_loss(t.ctx, {Precision::f32, w, targets, 1.0f / kCounted},
                                  {x.data(), kDim, kRows, kDim}, logits.data(), dx.data(), dhead.data());
    EXPECT_NEAR(loss / kCounted, f(doubles(x), doubles(head)), 1e-6);
    expect_gradient(x, dx, [&](const Doubles& at) { return f(at, doubles(head)); }, "x");
    expect_gradient(head, dhead, [&](const Doubles& at) { return f(doubles(x), at); }, "head");
  }
}

TEST(Divergence, GradientsAreThoseOfTheMeanOverCountedRows) {
  Random random(2);
  constexpr int kRows = kLossRows + 5, kDim = 6, kVocab = 11, kCounted = 3;
  const auto x = random_floats(random, kRows * kDim), reference = random_floats(random, kRows * kDim),
             head = random_floats(random, kVocab * kDim);
  std::vector<int32_t> targets(kRows, -1);
  for (const size_t r : {size_t{1}, size_t{200}, size_t{kRows - 1}}) targets[r] = 0;
  const auto logits_of = [&](const auto& rows, size_t r) {
    Doubles logits(kVocab);
    for (size_t v = 0; v < kVocab; ++v)
      for (size_t i = 0; i < kDim; ++i) logits[v] += double{rows[r * kDim + i]} * head[v * kDim + i];
    return logits;
  };
  const auto log_sum = [](const Doubles& logits) {
    double total = 0;
    for (const double l : logits) total += std::exp(l);
    return std::log(total);
  };
  const auto f = [&](const Doubles& rows) {
    double loss = 0;
    for (size_t r = 0; r < targets.size(); ++r) {
      if (targets[r] < 0) continue;
      const Doubles q = logits_of(rows, r), p = logits_of(reference, r);
      const double all_q = log_sum(q), all_p = log_sum(p);
      for (size_t v = 0; v < kVocab; ++v) loss += std::exp(p[v] - all_p) * (p[v] - all_p - q[v] + all_q);
    }
    return loss / kCounted;
  };
  for (const int threads : {1, 2}) {
    TestContext t(threads);
    const Mat w{
        reinterpret_cast<const std::byte*>(head.data()), nullptr, Format::f32, kVocab, kDim, kDim * 4};
    std::vector<float> logits(kLossRows * kVocab), others(logits.size()), dx(x.size());
    const auto of = [&](const std::vector<float>& at, float* to) {
      return head_divergence(t.ctx, {Precision::f32, w, targets, 1.0f / kCounted},
                             {at.data(), kDim, kRows, kDim}, {reference.data(), kDim, kRows, kDim},
                             logits.data(), others.data(), to, nullptr);
    };
    EXPECT_NEAR(of(x, dx.data()) / kCounted, f(doubles(x)), 1e-6);
    expect_gradient(x, dx, f, "x");
    std::ranges::fill(dx, 0.0f);
    EXPECT_NEAR(of(reference, dx.data()), 0, 1e-6);
    EXPECT_EQ(std::ranges::max(dx), 0.0f);
  }
}

TEST(Divergence, IsExactWhereLogitsAreLarge) {
  std::vector<float> logits = {0.0f, 300.0f}, reference = {200.0f, 0.0f};
  EXPECT_DOUBLE_EQ(divergence(kernels_for(supported_isas().back()), logits.data(), reference.data(), 2, 1.0f),
                   300.0);
  EXPECT_FLOAT_EQ(logits[0], -1.0f);
  EXPECT_FLOAT_EQ(logits[1], 1.0f);
}

TEST(CrossEntropy, IsExactWhereTheTargetIsAllButImpossible) {
  std::vector<float> logits = {100.0f, -50.0f, 0.0f};
  const double loss = cross_entropy(kernels_for(supported_isas().back()), logits.data(), 3, 1, 2.0f);
  EXPECT_DOUBLE_EQ(loss, 150.0);
  EXPECT_FLOAT_EQ(logits[0], 2.0f);
  EXPECT_FLOAT_EQ(logits[1], -2.0f);
}

}  // namespace
}  // namespace minke
