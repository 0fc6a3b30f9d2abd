#include "model/interleave.h"

#include <algorithm>

#include "model/random_config.h"
#include "model/test_models.h"
#include "quant/interleave.h"

namespace minke {
namespace {

bool among(const std::vector<Mat>& list, const Mat& m) {
  return std::ranges::any_of(list, [&](const Mat& x) { return x.data == m.data; });
}

TEST(Interleave, TakesWhatProductsReadOnce) {
  int tied = 0, untied = 0, latent = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const Config config = random_config(random, kArchitectureNames[seed % 6]);
    RandomModel made(config, seed, Format::q8_0);
    Weights weights = made.model().weights;
    const std::vector<Mat> found = interleavable(config, weights);
    EXPECT_TRUE(std::ranges::is_sorted(found, std::less<>(), &Mat::data));
    for (size_t i = 1; i < found.size(); ++i)
      EXPECT_LE(found[i - 1].data + found[i - 1].bytes(), found[i].data);
    EXPECT_EQ(among(found, weights.embed), config.tied && can_interleave(weights.embed));
    (config.tied ? tied : untied) += 1;
    const LayerWeights& layer = weights.layers[0];
    EXPECT_FALSE(among(found, layer.attn_norm));
    if (config.mla) {
      EXPECT_EQ(among(found, layer.v_b), config.mla->v % 16 == 0 && can_interleave(layer.v_b));
      ++latent;
    }
    mark_interleaved(config, weights, found);
    EXPECT_EQ(weights.head.interleaved, among(found, weights.head));
    EXPECT_EQ(weights.embed.interleaved, among(found, weights.embed));
  }
  EXPECT_TRUE(tied > 0 && untied > 0 && latent > 0);
}

TEST(Interleave, LeavesBytesThatMatricesShareInPart) {
  int tried = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const Config config = random_config(random, "llama");
    RandomModel made(config, seed, Format::q8_0);
    Weights weights = made.model().weights;
    Mat& up = weights.layers[0].up;
    const Mat& gate = weights.layers[0].gate;
    if (!can_interleave(gate)) continue;
    ++tried;
    const size_t before = interleavable(config, weights).size();
    up.data = gate.data + gate.row_bytes;
    const std::vector<Mat> found = interleavable(config, weights);
    EXPECT_FALSE(among(found, gate));
    EXPECT_FALSE(among(found, up));
    EXPECT_EQ(found.size() + 2, before);
  }
  EXPECT_GT(tried, 0);
}

}  // namespace
}  // namespace minke
