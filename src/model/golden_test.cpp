// Every model of tests/golden against its reference tensors, on every instruction set, however threads and
// pieces fall.

#include "kernels/isas.h"
#include "model/test_models.h"

namespace minke {
namespace {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, IsReproducedOnEveryInstructionSetThreadCountAndFeed) {
  const Model model = load_model(golden_folder(GetParam()));
  const Safetensors golden = golden_tensors(GetParam());
  const Feed feeds[] = {
      {Feed::whole, 0}, {Feed::single, 0}, {Feed::ragged, 1}, {Feed::ragged, 2}, {Feed::ragged, 3}};
  for (const Isa isa : usable_isas()) {
    for (const int threads : {1, 2, 7}) {
      for (const Feed& feed : feeds) {
        VerifyOptions options;
        options.isa = isa;
        options.threads = threads;
        options.feed = feed;
        expect_verified(model, golden, options,
                        fmt::format("{} on {}, {} threads, feed {}:{}", GetParam(), name(isa), threads,
                                    static_cast<int>(feed.kind), feed.seed));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(kGoldenModels),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace minke
