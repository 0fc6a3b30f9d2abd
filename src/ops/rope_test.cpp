#include "ops/rope.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"

namespace minke {
namespace {

Json golden(const char* name) {
  return parse_json(read_file(fs::path(MINKE_TESTS_DIR "/golden/units") / name));
}

TEST(Rope, YarnAsTheReference) {
  const Json cases = golden("yarn.json");
  ASSERT_GE(cases.as_object().size(), 5u);
  for (const auto& [name, c] : cases.as_object()) {
    const Json& s = c.at("rope_scaling");
    RopeConfig config;
    config.dims = static_cast<int>(c.at("dim").as_int());
    config.theta = c.at("rope_theta").as_double();
    config.scaling = RopeScaling::yarn;
    config.factor = s.at("factor").as_double();
    config.original = s.at("original_max_position_embeddings").as_double();
    config.beta_fast = s.at("beta_fast").as_double();
    config.beta_slow = s.at("beta_slow").as_double();
    config.mscale = s.at("mscale").as_double();
    config.mscale_all_dim = s.at("mscale_all_dim").as_double();
    const std::vector<float> f = rope_frequencies(config);
    const JsonArray& wanted = c.at("inv_freq").as_array();
    ASSERT_EQ(f.size(), wanted.size()) << name;
    for (size_t i = 0; i < f.size(); ++i)
      EXPECT_NEAR(f[i] / wanted[i].as_double(), 1, 1e-7) << name << ' ' << i;
    EXPECT_NEAR(rope_magnitude(config), c.at("cos_sin_factor").as_double(), 1e-12) << name;
    const double m = yarn_mscale(config.factor, config.mscale_all_dim);
    EXPECT_NEAR(m, c.at("mscale_all_dim_value").as_double(), 1e-12) << name;
    EXPECT_NEAR(m * m / std::sqrt(c.at("qk_head_dim").as_double()), c.at("softmax_scale").as_double(), 1e-12)
        << name;
  }
}

TEST(Rope, Llama3AsTheReference) {
  const Json cases = golden("llama3_rope.json");
  ASSERT_FALSE(cases.as_object().empty());
  for (const auto& [name, c] : cases.as_object()) {
    const Json& s = c.at("rope_scaling");
    RopeConfig config;
    config.dims = static_cast<int>(c.at("dim").as_int());
    config.theta = c.at("rope_theta").as_double();
    config.scaling = RopeScaling::llama3;
    config.factor = s.at("factor").as_double();
    config.low_freq = s.at("low_freq_factor").as_double();
    config.high_freq = s.at("high_freq_factor").as_double();
    config.original = s.at("original_max_position_embeddings").as_double();
    const std::vector<float> f = rope_frequencies(config);
    const JsonArray& wanted = c.at("inv_freq").as_array();
    ASSERT_EQ(f.size(), wanted.size()) << name;
    // The reference was computed in f32; its own last digits are what differ.
    for (size_t i = 0; i < f.size(); ++i)
      EXPECT_NEAR(f[i] / wanted[i].as_double(), 1, 1e-6) << name << ' ' << i;

    config.high_freq = config.low_freq;  // the middle is empty: no division by 0
    for (const float x : rope_frequencies(config)) EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(Rope, DegenerateYarnIsFinite) {
  RopeConfig config;
  config.dims = 2;
  config.scaling = RopeScaling::yarn;
  config.factor = 40;
  config.original = 1;  // the corrections are negative: low = high = 0
  for (const float f : rope_frequencies(config)) EXPECT_TRUE(std::isfinite(f) && f > 0);
}

TEST(Rope, AnglesAreExactFarOut) {
  RopeConfig config;
  config.dims = 64;
  const std::vector<float> f = rope_frequencies(config);
  const std::vector<int32_t> positions = {0, 1, 4095, 262143};
  std::vector<float> cos(positions.size() * f.size()), sin(cos.size());
  rope_angles(f, 1.0f, positions, cos.data(), sin.data());
  for (size_t p = 0; p < positions.size(); ++p) {
    for (size_t i = 0; i < f.size(); ++i) {
      // The product is rounded to f32 as in the references; its cosine is not rounded further.
      const auto angle = static_cast<double>(static_cast<float>(positions[p]) * f[i]);
      EXPECT_NEAR(cos[p * f.size() + i], std::cos(angle), 1e-7);
      EXPECT_NEAR(sin[p * f.size() + i], std::sin(angle), 1e-7);
    }
  }
}

}  // namespace
}  // namespace minke
