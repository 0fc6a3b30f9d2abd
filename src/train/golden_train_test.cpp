// Loss, every gradient and ten steps of the golden models of tests/golden/train, within the README's
// tolerances.

#include "train/test_train.h"

namespace minke {
namespace {

struct Setting {
  const char* name;
  IndexerPart indexer;
};

class GoldenTrain : public testing::TestWithParam<Setting> {
 protected:
  fs::path folder() const { return golden("train") / GetParam().name; }
};

void expect_gradients(const Config& config, const Weights& gradients, const Safetensors& expected) {
  double largest = 0;
  for (const TensorView& t : expected.tensors())
    for (const float v : to_floats(t)) largest = std::max(largest, std::abs(double{v}));
  size_t compared = 0;
  for_each_published(config, gradients, [&](const std::string& name, const std::vector<float>& values) {
    const Distance d = distance(values, floats(expected, name));
    EXPECT_LE(d.difference, 1e-4 * d.largest + 1e-6 * largest) << name;
    ++compared;
  });
  EXPECT_EQ(compared, expected.tensors().size());
}

TEST_P(GoldenTrain, LossGradientsAndTenSteps) {
  const Model model = load_model(folder());
  const Safetensors data = Safetensors::open(folder() / "train.safetensors");
  const TrainBatch batch = batch_of(data, "input_ids");
  for (const bool recompute : {false, true}) {
    TrainLimits limits;
    limits.rows = 64;
    limits.longest = 32;
    limits.indexer = GetParam().indexer != IndexerPart::none;
    limits.recompute = recompute;
    TestTrainer t(model.config, parameters_of(model), limits, is_language_weight);
    PassOptions options;
    options.objective.counted = batch.counted();
    options.objective.indexer = GetParam().indexer;
    ASSERT_EQ(batch.counted(), 62);

    const double expected_loss = floats(data, "loss")[0];
    EXPECT_NEAR(t.pass(options, batch).language, expected_loss, 1e-5 * expected_loss);
    expect_gradients(model.config, t.gradients.weights(), Safetensors::open(folder() / "grads.safetensors"));

    const std::vector<float> losses = floats(data, "losses"), norms = floats(data, "grad_norms");
    const AdamW adamw;
    for (size_t step = 0; step < 10; ++step) {
      EXPECT_NEAR(t.pass(options, batch).language, losses[step], 5e-5 * losses[step]) << step;
      const double norm = gradient_norm(t.ctx, t.tensors);
      EXPECT_NEAR(norm, norms[step], 5e-5 * norms[step]) << step;
      adamw_step(t.ctx, adamw, 1e-3, static_cast<int64_t>(step) + 1, clip_factor(adamw, norm), t.tensors);
    }
    const Safetensors after = Safetensors::open(folder() / "params_after_10.safetensors");
    for_each_published(model.config, t.parameters.weights(),
                       [&](const std::string& name, const std::vector<float>& values) {
                         if (!after.tensor(name)) return;  // not trained
                         EXPECT_LE(distance(values, floats(after, name)).difference, 1e-3) << name;
                       });
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTrain,
                         testing::Values(Setting{"deepseek_v3", IndexerPart::none},
                                         Setting{"deepseek_v32", IndexerPart::chooses},
                                         Setting{"llama", IndexerPart::none}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace minke
