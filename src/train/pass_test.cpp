#include "train/pass.h"

#include "model/random_config.h"
#include "model/test_models.h"
#include "train/test_train.h"

namespace minke {
namespace {

// Logits of the serving forward, whole sequences at once.
std::vector<float> served_logits(const Model& model, std::span<const Token> tokens) {
  const int n = static_cast<int>(tokens.size());
  InstanceOptions options;
  options.limits.rows = options.limits.context = options.limits.logit_rows = n;
  options.limits.threads = 2;
  options.limits.kv = KvFormat::f32;
  options.round_activations = false;
  Instance instance(model, options);
  KvView view = reserved(instance, n);
  const SequenceSlice slice{&view, 0, n, 0, Want::all_logits, n};
  instance.forward({tokens, {&slice, 1}, {}});
  const float* logits = instance.state().logits;
  return {logits, logits + int64_t{n} * model.config.vocab};
}

TrainBatch one_document(std::span<const Token> tokens) {
  TrainBatch batch;
  const std::vector<uint8_t> loss(tokens.size(), 1);
  add_sequence(batch, static_cast<int>(tokens.size()), tokens, std::vector<int32_t>{0}, loss);
  return batch;
}

void expect_served_logits(const Model& model, std::span<const Token> tokens, const std::string& what) {
  TrainLimits limits;
  limits.rows = limits.longest = static_cast<int>(tokens.size());
  limits.indexer = model.config.indexer.has_value();
  TestTrainer t(model.config, parameters_of(model), limits, [](const WeightSlot&) { return false; });
  PassOptions options;
  if (model.config.indexer) options.objective.indexer = IndexerPart::chooses;
  const std::vector<float> logits = logits_pass(t.ctx, options, t.trainee(), t.state, one_document(tokens));
  const Distance d = distance(logits, served_logits(model, tokens));
  EXPECT_LE(d.difference, 2e-5 * d.largest) << what;
}

TEST(TrainPass, GivesTheLogitsOfTheServingForwardOnEveryGoldenModel) {
  for (const char* name : kGoldenModels) {
    if (std::string_view(name) == "llama4") continue;
    const Model model = load_model(golden_folder(name));
    std::vector<Token> tokens;
    for (const int64_t id : integers(golden_tensors(name), "input_ids"))
      tokens.push_back(static_cast<Token>(id));
    expect_served_logits(model, tokens, name);
  }
}

TEST(TrainPass, GivesTheLogitsOfTheServingForwardForRandomShapes) {
  for (const char* arch : kArchitectureNames) {
    if (std::string_view(arch) == "llama4") continue;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      Random random(seed);
      const Config config = random_config(random, arch);
      const RandomModel model(config, seed, Format::f32);
      expect_served_logits(model.model(), random_tokens(random, config.vocab, 70), std::string(arch));
    }
  }
}

// As if experts were on several ranks: the way over Comm{}, also where this rank has no row for a layer.
TEST(TrainPass, ExpertsOverRanksGiveTheSameBits) {
  const Model model = load_model(golden_folder("deepseek_v3_mtp"));
  for (const bool single : {false, true})  // documents of one token, which have no second one to predict
    for (const bool recompute : {false, true}) {
      Random random(3);
      const std::vector<Token> tokens = random_tokens(random, model.config.vocab, 26);
      const std::vector<uint8_t> loss(tokens.size(), 1);
      std::vector<int32_t> starts = {0, 3, 10};
      for (int32_t i = 0; single && i < 26; ++i) starts.resize(26), starts[static_cast<size_t>(i)] = i;
      TrainBatch batch;
      add_sequence(batch, 24, tokens, starts, loss);
      std::vector<float> gradients[2];
      for (const bool ranks : {false, true}) {
        TrainLimits limits;
        limits.rows = limits.longest = 24;
        limits.mtp = true;
        limits.recompute = recompute;
        limits.expert_ranks = ranks ? 2 : 1;  // buffers of several
        TestTrainer t(model.config, parameters_of(model), limits, is_language_weight);
        PassOptions options;
        options.objective.mtp = 0.3;
        options.objective.balance = 0.01;
        const Comm alone;
        Trainee trainee = t.trainee();
        if (ranks) trainee.expert_ranks = &alone;
        train_pass(t.ctx, options, trainee, t.state, batch);
        gradients[ranks].assign(t.gradients.values().begin(), t.gradients.values().end());
      }
      EXPECT_EQ(gradients[0], gradients[1]) << single << recompute;
    }
}

TEST(TrainPass, RefusesWhatItDoesNotTrain) {
  const Config config = load_model(golden_folder("llama4")).config;
  expect_says(error_of([&] { make_train_state(config, {.rows = 8, .longest = 8}); }),
              "llama4: is not trained");
}

// All gradients of a small model of every kind against differences of its own loss, along a random direction:
// what the ops' own tests cannot see is how they are put together.
TEST(TrainPass, GradientsOfWholeModelsAreDifferencesOfTheirLoss) {
  for (const char* arch : kArchitectureNames) {
    if (std::string_view(arch) == "llama4") continue;
    Random random(11);
    Config config = random_config(random, arch);
    const RandomModel model(config, 5, Format::f32);
    TrainLimits limits;
    limits.rows = 24;
    limits.longest = 24;
    TestTrainer t(config, parameters_of(model.model()), limits, is_language_weight);
    TrainBatch batch;
    const std::vector<Token> tokens = random_tokens(random, config.vocab, 24);
    const std::vector<uint8_t> loss(tokens.size(), 1);
    add_sequence(batch, 24, tokens, std::vector<int32_t>{0, 3, 10}, loss);
    PassOptions options;
    options.objective.counted = batch.counted();
    t.pass(options, batch);
    const auto loss_at = [&](double step) {
      for (const TrainedTensor& tensor : t.tensors)
        for (int64_t i = 0; i < tensor.count(); ++i)
          tensor.weight[i] += static_cast<float>(step) * tensor.gradient[i];
      return evaluate_pass(t.ctx, options, t.trainee(), t.state, batch).language;
    };
    double squares = 0;
    for (const float g : t.gradients.values()) squares += double{g} * g;
    const double step = 1e-4 / std::sqrt(squares);  // small enough that no token changes its experts
    const double above = loss_at(step), below = loss_at(-2 * step);
    EXPECT_NEAR((above - below) / (2 * step * squares), 1, 0.01) << arch;
  }
}

}  // namespace
}  // namespace minke
