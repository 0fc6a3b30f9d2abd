// Every model of tests/golden against its reference tensors, on every instruction set, however threads and
// pieces fall.

#include <gtest/gtest.h>

#include "model/verify.h"

namespace minke {
namespace {

class Golden : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder_ = fs::path(MINKE_TESTS_DIR) / "golden" / "models" / GetParam();
  Model model_ = load_model(folder_);
  Safetensors golden_ = Safetensors::open(folder_ / "golden.safetensors");

  void expect_equal(const VerifyOptions& options) {
    const std::vector<Compared> results = verify(model_, golden_, options);
    EXPECT_GE(results.size(), 5u);
    for (const Compared& c : results)
      EXPECT_TRUE(c.ok()) << c.name << ": " << c.figure << " of " << c.tolerance << ' ' << c.fault << " on "
                          << name(*options.isa) << ", " << options.threads << " threads, feed "
                          << options.feed.kind;
  }
};

TEST_P(Golden, IsReproducedOnEveryInstructionSet) {
  for (const Isa isa : supported_isas())
    for (const Feed feed : {Feed{}, Feed{Feed::ragged, 5}, Feed{Feed::single, 0}}) {
      VerifyOptions options;
      options.isa = isa;
      options.threads = 2;
      options.feed = feed;
      expect_equal(options);
    }
}

TEST_P(Golden, IsReproducedWithAnyNumberOfThreads) {
  for (const int threads : {1, 2, 7})
    for (uint64_t seed = 0; seed < 3; ++seed) {
      VerifyOptions options;
      options.isa = supported_isas().back();
      options.threads = threads;
      options.feed = {Feed::ragged, seed};
      expect_equal(options);
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Values("deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8", "deepseek_v32",
                                         "deepseek_v3_mtp", "llama", "qwen2", "llama4"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace minke
