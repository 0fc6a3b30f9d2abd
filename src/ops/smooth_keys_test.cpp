#include "ops/smooth_keys.h"

#include <cmath>

#include <gtest/gtest.h>

#include "ops/rope.h"
#include "ops/test_ops.h"

namespace minke {
namespace {

constexpr int kHeads = 6, kKvHeads = 2, kDim = 64;

struct Made {
  std::vector<float> q, k, bias;  // keys turned, with the bias in them
  MeanTurns turns;
};

// Queries and keys of `rows` tokens; in the bias a few pairs are large, and queries are small there, as
// those of models that were trained so.
Made make(Random& random, int rows, bool half) {
  RopeConfig config;
  config.dims = kDim;
  config.theta = 1e6;
  config.half = half;
  const std::vector<float> frequencies = rope_frequencies(config);
  Made m{random_floats(random, int64_t{rows} * kHeads * kDim),
         random_floats(random, int64_t{rows} * kKvHeads * kDim), random_floats(random, kKvHeads * kDim),
         mean_turns(frequencies, 1)};
  for (const int i : {0, 1, kDim / 2 - 1, kDim - 1, kDim + 3, 2 * kDim - 2})
    m.bias[static_cast<size_t>(i)] = 100 + 50 * random.normal();
  const auto partner = [&](int i) { return half ? (i + kDim / 2) % kDim : i ^ 1; };
  for (int row = 0; row < rows; ++row)
    for (int i = 0; i < kHeads * kDim; ++i) {
      const int head = i / kDim / (kHeads / kKvHeads) * kDim, at = i % kDim;
      const float bias =
          std::hypot(m.bias[static_cast<size_t>(head + at)], m.bias[static_cast<size_t>(head + partner(at))]);
      m.q[static_cast<size_t>(row * kHeads * kDim + i)] /= 1 + bias;
    }
  std::vector<float> cos(kDim / 2), sin(kDim / 2);
  for (int32_t r = 0; r < rows; ++r) {
    rope_angles(frequencies, 1, {&r, 1}, cos.data(), sin.data());
    for (int h = 0; h < kKvHeads; ++h) {
      float* k = m.k.data() + (r * kKvHeads + h) * kDim;
      for (int i = 0; i < kDim; ++i) k[i] += m.bias[static_cast<size_t>(h * kDim + i)];
      kernels_for(Isa::scalar).rope(k, cos.data(), sin.data(), kDim, half);
    }
  }
  return m;
}

double score(const std::vector<float>& q, const std::vector<float>& k, int row, int head, int key) {
  double dot = 0;
  for (int i = 0; i < kDim; ++i)
    dot += double{q[static_cast<size_t>((row * kHeads + head) * kDim + i)]} *
           k[static_cast<size_t>((key * kKvHeads + head / (kHeads / kKvHeads)) * kDim + i)];
  return dot;
}

TEST(SmoothKeys, ScoresChangeByTheSameForAllKeysAndRoundBetter) {
  Random random(4);
  for (const bool half : {false, true}) {
    constexpr int kRows = 40;
    Made m = make(random, kRows, half);
    const Made before = m;
    std::vector<float> offset(kKvHeads * kDim), scale(kKvHeads * kDim);
    const KeySmoothing smoothing{offset.data(), scale.data()};
    TestContext two(2);
    smooth_from_bias(two.ctx.kernels, m.turns, half, m.bias.data(), kKvHeads, kDim, smoothing);
    smooth_keys(two.ctx, smoothing, kRows, kKvHeads, kDim, m.k.data());
    scale_by_keys(two.ctx, smoothing, kRows, kHeads, kKvHeads, kDim, m.q.data());

    const auto rounded = [](std::vector<float> k) {
      std::vector<std::byte> head(static_cast<size_t>(kv_head_bytes(KvFormat::int8, kDim)));
      for (size_t at = 0; at < k.size(); at += kDim) {
        kernels_for(Isa::scalar).store_kv(KvFormat::int8, &k[at], kDim, head.data());
        for (int i = 0; i < kDim; ++i)
          k[at + static_cast<size_t>(i)] = kv_number(KvFormat::int8, head.data(), kDim, i);
      }
      return k;
    };
    const std::vector<float> plain = rounded(before.k), smooth = rounded(m.k);
    double error = 0, smooth_error = 0;
    for (int row = 0; row < kRows; row += 7) {
      for (int head = 0; head < kHeads; ++head) {
        const double change = score(m.q, m.k, row, head, 0) - score(before.q, before.k, row, head, 0);
        for (int key = 1; key < kRows; ++key) {
          const double is = score(before.q, before.k, row, head, key);
          ASSERT_NEAR(score(m.q, m.k, row, head, key) - is, change, 1e-3);
          error += std::pow(score(before.q, plain, row, head, key) - is, 2);
          smooth_error += std::pow(score(m.q, smooth, row, head, key) - is - change, 2);
        }
      }
    }
    EXPECT_LT(smooth_error, error / 50) << half;
  }
}

TEST(SmoothKeys, MeansAreThoseOfTheAngles) {
  const std::vector<float> frequencies = {1.0f, 1e-3f, 2e-5f, 0.0f};
  const MeanTurns turns = mean_turns(frequencies, 1.5f);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double cos = 0, sin = 0;
    for (int t = 0; t < kSmoothTokens; ++t) {
      cos += 1.5 * std::cos(double{frequencies[i]} * t) / kSmoothTokens;
      sin += 1.5 * std::sin(double{frequencies[i]} * t) / kSmoothTokens;
    }
    EXPECT_NEAR(turns.cos[i], cos, 2e-4) << i;
    EXPECT_NEAR(turns.sin[i], sin, 2e-4) << i;
    EXPECT_NEAR(2 * turns.rest[i] * turns.rest[i], 2.25 - cos * cos - sin * sin, 1e-3) << i;
  }
}

}  // namespace
}  // namespace minke
