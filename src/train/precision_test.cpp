// Training in bf16 beside training in f32: the golden models of tests/golden/train, two hundred steps on text
// with a pattern and with noise.

#include "train/test_train.h"

namespace minke {
namespace {

// Sequences in which three tokens of four follow from the one before.
TrainBatch noisy_batch(uint64_t step, int vocab) {
  Random random(17, step);
  TrainBatch batch;
  for (int sequence = 0; sequence < 4; ++sequence) {
    std::vector<Token> tokens = {static_cast<Token>(random.below(static_cast<uint64_t>(vocab)))};
    for (int i = 0; i < 32; ++i)
      tokens.push_back(random.below(4) == 0 ? static_cast<Token>(random.below(static_cast<uint64_t>(vocab)))
                                            : (tokens.back() * 5 + 7) % vocab);
    const std::vector<uint8_t> loss(tokens.size(), 1);
    add_sequence(batch, 32, tokens, std::vector<int32_t>{0}, loss);
  }
  return batch;
}

std::vector<double> losses_of(const Model& model, Precision precision) {
  TrainLimits limits;
  limits.rows = 128;
  limits.longest = 32;
  limits.indexer = model.config.indexer.has_value();
  TestTrainer t(model.config, parameters_of(model), limits, is_language_weight);
  PassOptions options{precision, {}};
  options.objective.indexer = model.config.indexer ? IndexerPart::chooses : IndexerPart::none;
  const AdamW adamw;
  std::vector<double> losses;
  for (int64_t step = 1; step <= 200; ++step) {
    const TrainBatch batch = noisy_batch(static_cast<uint64_t>(step), model.config.vocab);
    options.objective.counted = batch.counted();
    losses.push_back(t.pass(options, batch).language);
    adamw_step(t.ctx, adamw, 1e-3, step, clip_factor(adamw, gradient_norm(t.ctx, t.tensors)), t.tensors);
  }
  return losses;
}

// Single steps of so few tokens are noise that grows: a token sent to another expert is another sum. What is
// compared is the mean of fifty steps.
std::vector<double> means_of_fifty(const std::vector<double>& losses) {
  std::vector<double> means(losses.size() / 50);
  for (size_t i = 0; i < losses.size(); ++i) means[i / 50] += losses[i] / 50;
  return means;
}

TEST(Precision, Bf16TracksTheLossOfF32WithinAHundredth) {
  for (const char* name : {"llama", "deepseek_v3", "deepseek_v32"}) {
    const Model model = load_model(golden("train") / name);
    const std::vector<double> exact = means_of_fifty(losses_of(model, Precision::f32)),
                              rounded = means_of_fifty(losses_of(model, Precision::bf16));
    EXPECT_LT(exact.back(), 0.7 * exact.front()) << name;
    EXPECT_NE(rounded, exact) << name;
    for (size_t i = 0; i < exact.size(); ++i)
      EXPECT_NEAR(rounded[i], exact[i], 0.01 * exact[i]) << name << ", steps up to " << 50 * i + 50;
  }
}

}  // namespace
}  // namespace minke
