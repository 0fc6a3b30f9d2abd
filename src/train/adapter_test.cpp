#include "train/adapter.h"

#include "model/test_models.h"
#include "train/save.h"
#include "train/test_train.h"

namespace minke {
namespace {

const std::vector<Role> kAll = {Role::wq, Role::wk, Role::wv, Role::wo, Role::gate, Role::up, Role::down};

Adapters filled(const Config& config, const LoraConfig& lora) {
  Adapters adapters = random_adapters(config, lora, 3);
  Random random(4);
  for (float& v : adapters.values()) v = 0.1f * random.normal();
  return adapters;
}

std::vector<float> product(const MatrixView& a, const MatrixView& b, const Context& ctx) {
  std::vector<float> out(static_cast<size_t>(a.rows) * static_cast<size_t>(b.cols));
  matmul(ctx, Precision::f32, a, b, out.data(), b.cols, false);
  return out;
}

// With W' = W + scale B A the gradients by A and B follow from that by W', which is held to reference data:
// scale B^T dW' and scale dW' A^T.
TEST(Adapter, GradientsAreThoseOfTheMergedMatrices) {
  const TrainBatch batch = batch_of(Safetensors::open(golden("train/units.safetensors")), "lora.input_ids");
  for (const char* name : {"train/llama", "models/qwen2"})
    for (const bool recompute : {false, true}) {
      const Model model = load_model(golden(name));
      const LoraConfig lora{4, 6, kAll};
      TrainLimits limits{.rows = batch.rows(), .longest = 32, .recompute = recompute, .adapter_rank = 4};
      TestTrainer t(model.config, parameters_of(model), limits, is_language_weight);
      const Adapters adapters = filled(model.config, lora), gradients(model.config, lora);
      PassOptions options;
      options.objective.counted = batch.counted();
      const Parameters frozen(model.config, [](const WeightSlot&) { return false; });
      const Trainee adapted{model.config, t.parameters.weights(), frozen.weights(), &adapters, &gradients};
      const double loss = train_pass(t.ctx, options, adapted, t.state, batch).language;

      merge_adapters(t.ctx, adapters, t.parameters.weights());
      EXPECT_NEAR(t.pass(options, batch).language, loss, 1e-5 * loss);
      for_each_adapter(adapters, [&](int layer, const AdaptedMatrix& matrix, const Adapter& adapter) {
        const size_t at = static_cast<size_t>(layer);
        const Mat& dw = t.gradients.weights().layers[at].*matrix.weight;
        const Adapter& found = gradients.layers()[at].*matrix.adapter;
        std::vector<float> da = product(transposed(adapter.b), view(dw), t.ctx),
                           db = product(view(dw), transposed(adapter.a), t.ctx);
        for (std::vector<float>* v : {&da, &db})
          for (float& x : *v) x *= adapter.scale;
        for (const auto& [mat, expected] : {std::pair{&found.a, &da}, std::pair{&found.b, &db}}) {
          const Distance d = distance({mat->f32(), expected->size()}, *expected);
          EXPECT_GT(d.largest, 0) << name << ' ' << matrix.name;
          EXPECT_LE(d.difference, 2e-4 * d.largest) << name << ' ' << matrix.name << " of layer " << layer;
        }
      });
    }
}

// Held to the model without adapters: nothing where they do nothing, else what differences of the loss say.
TEST(Adapter, GradientsOfTheDivergenceFromTheModelWithoutThem) {
  const TrainBatch batch = batch_of(Safetensors::open(golden("train/units.safetensors")), "lora.input_ids");
  const Model model = load_model(golden("train/llama"));
  const LoraConfig lora{4, 6, kAll};
  const TrainLimits limits{
      .rows = batch.rows(), .longest = 32, .threads = 2, .adapter_rank = 4, .reference = true};
  TestTrainer t(model.config, parameters_of(model), limits, is_language_weight);
  const Parameters frozen(model.config, [](const WeightSlot&) { return false; });
  PassOptions options;
  options.objective.language = 0;
  options.objective.reference = 3;
  options.objective.counted_reference = batch.counted();
  const auto loss = [&](const Adapters& adapters, const Adapters& gradients) {
    const Trainee adapted{model.config, t.parameters.weights(), frozen.weights(), &adapters, &gradients};
    const Losses losses = train_pass(t.ctx, options, adapted, t.state, batch);
    EXPECT_EQ(losses.language, 0);
    return losses.reference;
  };
  const Adapters fresh = random_adapters(model.config, lora, 3), none(model.config, lora);
  EXPECT_NEAR(loss(fresh, none), 0, 1e-7);

  Adapters adapters = filled(model.config, lora);
  const Adapters gradients(model.config, lora);
  EXPECT_GT(loss(adapters, gradients), 0.01);
  Random random(5);
  std::vector<float> direction(adapters.values().size());
  double expected = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = random.normal();
    expected += double{direction[i]} * gradients.values()[i] / options.objective.reference;
  }
  constexpr float kStep = 2e-4f;
  const auto moved = [&](float by) {
    Adapters other = filled(model.config, lora);
    for (size_t i = 0; i < direction.size(); ++i) other.values()[i] += by * direction[i];
    return loss(other, Adapters(model.config, lora));
  };
  EXPECT_NEAR((moved(kStep) - moved(-kStep)) / (2 * kStep), expected, 0.01 * std::abs(expected));
}

// What is written is what is read: the engine with the folder's adapters and the saved merged model agree.
TEST(Adapter, AreServedAsTheyWereTrained) {
  const TemporaryFolder folder;
  const Model base = load_model(golden("train/llama"));
  const LoraConfig lora{4, 6, {Role::wk, Role::wo, Role::down}};
  const Adapters adapters = filled(base.config, lora);
  save_adapters(folder / "adapter", base.config, lora, adapters, "base");
  LoadOptions options;
  options.adapters = folder / "adapter";
  const Model loaded = load_model(golden("train/llama"), options);
  for_each_adapter(adapters, [&](int layer, const AdaptedMatrix& matrix, const Adapter& adapter) {
    const Adapter& read = loaded.weights.adapters[static_cast<size_t>(layer)].*matrix.adapter;
    EXPECT_EQ(read.scale, adapter.scale);
    EXPECT_EQ(std::memcmp(read.a.data, adapter.a.data, static_cast<size_t>(adapter.a.bytes())), 0);
    EXPECT_EQ(std::memcmp(read.b.data, adapter.b.data, static_cast<size_t>(adapter.b.bytes())), 0);
  });
  EXPECT_FALSE(loaded.weights.adapters[0].wq);
  EXPECT_FALSE(loaded.weights.adapters[1].gate);
}

TEST(Adapter, TakesTheMemoryItSays) {
  const Config config = load_model(golden("train/llama")).config;
  const LoraConfig lora{4, 6, kAll};
  EXPECT_EQ(Adapters(config, lora).values().size_bytes(), static_cast<size_t>(adapter_bytes(config, lora)));
  EXPECT_EQ(adapter_bytes(config, LoraConfig{}), 0);
}

}  // namespace
}  // namespace minke
