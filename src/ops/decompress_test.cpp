#include "ops/decompress.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "ops/test_ops.h"

namespace minke {
namespace {

// DeepSeek-V3's own numbers.
constexpr LatentShape kV3{128, 128, 64, 128, 512, {}};

TEST(Forms, FollowPositionAndWhatWasGiven) {
  EXPECT_TRUE(decompresses(kV3, 0, 1));  // a prompt from scratch, whatever its length
  EXPECT_TRUE(decompresses(kV3, 511, 512));
  EXPECT_FALSE(decompresses(kV3, 512, 512));  // generated
  EXPECT_TRUE(decompresses(kV3, 60'000, 1 << 17));
  EXPECT_FALSE(decompresses(kV3, 59'904, 59'905));  // alone in its block behind a long context
  EXPECT_FALSE(decompresses(kV3, 61'440, 61'440 + 50));
  EXPECT_TRUE(decompresses(kV3, 61'440, 61'440 + 200));
  EXPECT_EQ(decompresses(kV3, 61'440, 61'440 + 85), decompresses(kV3, 61'440 + 84, 61'440 + 85));
}

struct Case {
  LatentShape shape;
  KvRow row;
  OwnedMat k_nope, v_b;
  KvView view;
  minke::Run run;

  explicit Case(Random& random) {
    const auto number = [&](int low, int high) {
      return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
    };
    const KvFormat format = kKvFormats[random.below(kKvFormats.size())];
    shape = {number(1, 3), 4 * number(1, 10), 2 * number(1, 8), 4 * number(1, 10), 32 * number(1, 9), {}};
    row.latent = {format, shape.kv_lora + shape.rope, 0};
    row = lay_out(row);
    shape.latent = row.latent;
    const Format weights = random.below(2) ? Format::f32 : Format::q8_0;
    k_nope = random_mat(random, weights, shape.heads * shape.nope, shape.kv_lora);
    v_b = random_mat(random, random.below(3) ? weights : Format::f32, shape.heads * shape.v, shape.kv_lora);
    run = {0, number(1, 90), random.below(4) ? number(0, 600) : number(1900, 2200), nullptr};
    for (int p = 0; p * kPageTokens < run.position + run.count; ++p) view.pages.push_back(p);
    std::reverse(view.pages.begin(), view.pages.end());
    run.kv = &view;
  }
  Case(const Case&) = delete;

  std::vector<float> queries(Random& random) const {
    return random_floats(random, int64_t{run.count} * shape.heads * (shape.nope + shape.rope), 0.1f);
  }

  std::vector<float> attend(TestContext& c, const TestCache& cache, const std::vector<minke::Run>& runs,
                            const std::vector<float>& q) const {
    const auto rows = static_cast<size_t>(run.count * shape.heads);
    std::vector<float> latents(size_t{kDecompressed} * static_cast<size_t>(shape.kv_lora + shape.rope)),
        peaks(rows), masses(rows), out(rows * static_cast<size_t>(shape.v), NAN);
    decompressed_attention(c.ctx, c.work, cache.pool, 0, shape, k_nope.mat, v_b.mat, runs,
                           {latents.data(), peaks.data(), masses.data()}, q.data(), out.data());
    return out;
  }
};

// out[h] of one row, in doubles, and what rounding may change.
void expect_row(const Case& c, const TestCache& cache, const float* q, int row, int head, const float* given,
                bool rounded) {
  const LatentShape& s = c.shape;
  const int visible = c.run.position + row + 1;
  std::vector<float> w(static_cast<size_t>(s.kv_lora));
  std::vector<double> scores, absorbed(static_cast<size_t>(s.kv_lora)), mean(absorbed);
  for (int i = 0; i < s.nope; ++i) {
    dequantize_row(c.k_nope.mat, head * s.nope + i, w.data());
    for (int j = 0; j < s.kv_lora; ++j)
      absorbed[static_cast<size_t>(j)] += double{q[i]} * w[static_cast<size_t>(j)];
  }
  for (int t = 0; t < visible; ++t) {
    double score = 0;
    for (int j = 0; j < s.kv_lora; ++j)
      score += absorbed[static_cast<size_t>(j)] * cache.at(s.latent, c.view, t, j);
    for (int j = 0; j < s.rope; ++j)
      score += double{q[s.nope + j]} * cache.at(s.latent, c.view, t, s.kv_lora + j);
    scores.push_back(score);
  }
  const double peak = *std::max_element(scores.begin(), scores.end());
  double mass = 0;
  for (double& x : scores) mass += x = std::exp(x - peak);
  for (int t = 0; t < visible; ++t)
    for (int j = 0; j < s.kv_lora; ++j)
      mean[static_cast<size_t>(j)] +=
          scores[static_cast<size_t>(t)] / mass * cache.at(s.latent, c.view, t, j);
  double wrong = 0, size = 0;
  for (int i = 0; i < s.v; ++i) {
    dequantize_row(c.v_b.mat, head * s.v + i, w.data());
    double wanted = 0;
    for (int j = 0; j < s.kv_lora; ++j) wanted += w[static_cast<size_t>(j)] * mean[static_cast<size_t>(j)];
    wrong += (given[i] - wanted) * (given[i] - wanted);
    size += wanted * wanted;
  }
  RC_ASSERT(std::isfinite(wrong));
  RC_ASSERT(std::sqrt(wrong) <= (rounded ? 0.2 : 1e-4) * std::sqrt(size) + (rounded ? 0.05 : 1e-4));
}

TEST(DecompressedAttention, AsTheFormulaSays) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Case c(random);
    const TestCache cache(random, c.row, static_cast<int>(c.view.pages.size()));
    const std::vector<float> q = c.queries(random);
    const bool rounds = random.below(2);
    TestContext two(2, rounds);
    const std::vector<float> out = c.attend(two, cache, {c.run}, q);
    const int width = c.shape.nope + c.shape.rope;
    for (int n = 0; n < 4; ++n) {
      const int row = static_cast<int>(random.below(static_cast<uint64_t>(c.run.count))),
                head = static_cast<int>(random.below(static_cast<uint64_t>(c.shape.heads)));
      const int64_t at = int64_t{row} * c.shape.heads + head;
      expect_row(c, cache, q.data() + at * width, row, head, out.data() + at * c.shape.v,
                 rounds || c.row.latent.format != KvFormat::f32);
    }
  }));
}

TEST(DecompressedAttention, SameBitsInPiecesAndOnAnyMachine) {
  for (uint64_t seed = 0; seed < 16; ++seed) {  // the scalar kernels are slow
    Random random(seed);
    const Case c(random);
    const TestCache cache(random, c.row, static_cast<int>(c.view.pages.size()));
    const std::vector<float> q = c.queries(random);
    const bool rounds = random.below(2);
    TestContext one(1, rounds), many(7, rounds), scalar(1, rounds, Isa::scalar);
    const std::vector<float> whole = c.attend(many, cache, {c.run}, q);
    std::vector<minke::Run> pieces;
    for (int at = 0; at < c.run.count;) {
      const int some = 1 + static_cast<int>(random.below(static_cast<uint64_t>(c.run.count - at)));
      pieces.push_back({at, some, c.run.position + at, &c.view});
      at += some;
    }
    for (TestContext* context : {&one, &scalar}) {
      const std::vector<float> again = c.attend(*context, cache, pieces, q);
      EXPECT_EQ(std::memcmp(whole.data(), again.data(), whole.size() * sizeof(float)), 0) << seed;
    }
  }
}

TEST(TransposeHeads, TurnsEachHead) {
  Random random(5);
  const OwnedMat k_b = random_mat(random, Format::f32, 3 * 64, 8);
  std::vector<std::byte> bytes(3 * 8 * 64 * 4);
  const Mat to{bytes.data(), nullptr, Format::f32, 3 * 8, 64, 64 * 4};
  TestContext two(2);
  transpose_heads(two.ctx, k_b.mat, 3, to);
  for (int h = 0; h < 3; ++h)
    for (int i = 0; i < 8; ++i)
      for (int c = 0; c < 64; ++c)
        EXPECT_EQ(to.f32()[(h * 8 + i) * 64 + c], k_b.mat.f32()[(h * 64 + c) * 8 + i]);
}

}  // namespace
}  // namespace minke
