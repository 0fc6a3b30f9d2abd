// The small pieces of training in tests/golden/train/units.safetensors.

#include "ops/indexer_training.h"
#include "ops/router_backward.h"
#include "train/test_train.h"

namespace minke {
namespace {

const Safetensors& units() {
  static const Safetensors file = Safetensors::open(golden("train/units.safetensors"));
  return file;
}

Json settings(const std::string& name) {
  static const Json all = parse_json(read_file(golden("train/units.json")));
  return all.at(name);
}

void expect_near(std::span<const float> values, const std::string& name, double tolerance = 1e-5) {
  const std::vector<float> expected = floats(units(), name);
  ASSERT_EQ(values.size(), expected.size()) << name;
  const Distance d = distance(values, expected);
  EXPECT_LE(d.difference, tolerance * d.largest) << name;
}

// Gradients of a model: within the tolerance of a whole one, `largest` being that of the gradients listed.
struct NamedGradient {
  std::string name;
  std::vector<float> values;
};
void expect_gradients(const std::vector<NamedGradient>& gradients) {
  double largest = 0;
  for (const NamedGradient& g : gradients)
    for (const float v : floats(units(), g.name)) largest = std::max(largest, std::abs(double{v}));
  for (const NamedGradient& g : gradients) {
    const Distance d = distance(g.values, floats(units(), g.name));
    EXPECT_GT(d.largest, 0) << g.name;
    EXPECT_LE(d.difference, 1e-4 * d.largest + 1e-6 * largest) << g.name;
  }
}

std::vector<float> numbers(const Mat& m) { return {m.f32(), m.f32() + int64_t{m.rows} * m.cols}; }

TestTrainer trainer_of(const Model& model, int rows, int longest, bool mtp = false,
                       const ChosenWeights& chosen = is_language_weight) {
  TrainLimits limits;
  limits.rows = rows;
  limits.longest = longest;
  limits.mtp = mtp;
  limits.adapter_rank = 4;
  return TestTrainer(model.config, parameters_of(model), limits, chosen);
}

TEST(TrainUnits, MultiTokenPrediction) {
  const Model model = load_model(golden("models/deepseek_v3_mtp"));
  const TrainBatch batch = batch_of(units(), "mtp.input_ids");
  EXPECT_EQ(batch.counted_second(), 2 * 22);
  for (const bool detached : {false, true}) {
    TestTrainer t = trainer_of(model, batch.rows(), 24, true);
    PassOptions options;
    options.objective.language = 1e-30;  // the main model's own loss is none of it
    options.objective.counted = batch.counted();
    options.objective.mtp = settings("mtp").at("lambda").as_double();
    options.objective.counted_second = batch.counted_second();
    options.objective.mtp_detached = detached;
    const Losses losses = t.pass(options, batch);
    const double expected = floats(units(), "mtp.loss")[0];
    EXPECT_NEAR(options.objective.mtp * losses.mtp, expected, 1e-5 * expected);
    const Weights& g = t.gradients.weights();
    if (detached) {
      expect_gradients({{"mtp.grad_detached.embed_tokens", numbers(g.embed)}});
      continue;
    }
    const LayerWeights& layer = g.layers[static_cast<size_t>(model.config.layers)];
    expect_gradients({{"mtp.grad.eh_proj", numbers(layer.mtp_proj)},
                      {"mtp.grad.embed_tokens", numbers(g.embed)},
                      {"mtp.grad.enorm", numbers(layer.mtp_embed_norm)},
                      {"mtp.grad.hnorm", numbers(layer.mtp_hidden_norm)},
                      {"mtp.grad.layer0.q_a_proj", numbers(g.layers[0].wq_a)},
                      {"mtp.grad.lm_head", numbers(g.head)},
                      {"mtp.grad.shared_head.norm", numbers(layer.mtp_norm)}});
  }
}

TEST(TrainUnits, BalanceLoss) {
  for (const std::string name : {"balance_a", "balance_b"}) {
    const TensorView& logits = tensor(units(), name + ".router_logits");
    RouterConfig c;
    c.experts = static_cast<int>(logits.shape[1]);
    c.active = static_cast<int>(settings(name).at("K").as_int());
    c.score = RouterScore::sigmoid;
    const std::vector<float> values = to_floats(logits);
    std::vector<float> gradient(values.size());
    const float loss =
        static_cast<float>(balance_loss(c, values.data(), static_cast<int>(logits.shape[0]),
                                        settings(name).at("alpha").as_double(), 1.0f, gradient.data()));
    expect_near({&loss, 1}, name + ".loss");
    expect_near(gradient, name + ".grad");
  }
}

TEST(TrainUnits, RouterBias) {
  for (const std::string name : {"bias_a", "bias_b"}) {
    std::vector<float> bias = floats(units(), name + ".bias");
    update_router_bias(integers(units(), name + ".loads"),
                       static_cast<float>(settings(name).at("gamma").as_double()), bias.data());
    EXPECT_LE(distance(bias, floats(units(), name + ".new_bias")).difference, 1e-7);
  }
}

TEST(TrainUnits, IndexerLossInBothStages) {
  ThreadPool pool(2);
  const Context ctx{pool, kernels_for(supported_isas().back()), Comm{}};
  for (const std::string name : {"indexer_a", "indexer_b"}) {
    const TensorView& attention = tensor(units(), name + ".attention");
    const int heads = static_cast<int>(attention.shape[0]), n = static_cast<int>(attention.shape[1]);
    const std::vector<float> all = to_floats(attention);
    const size_t size = static_cast<size_t>(n) * static_cast<size_t>(n);
    std::vector<float> mass(size);
    for (int h = 0; h < heads; ++h)
      for (size_t i = 0; i < size; ++i) mass[i] += all[static_cast<size_t>(h) * size + i];
    const TensorView& selected = tensor(units(), name + ".selected");
    const int most = static_cast<int>(selected.shape[1]);
    std::vector<int32_t> chosen, counts;
    for (const int64_t s : to_integers(selected)) chosen.push_back(static_cast<int32_t>(s));
    for (int t = 0; t < n; ++t)
      counts.push_back(static_cast<int32_t>(std::count_if(
          chosen.begin() + t * most, chosen.begin() + (t + 1) * most, [](int s) { return s >= 0; })));
    const std::vector<Document> documents = {{0, n}};
    const Selection selection{chosen.data(), counts.data(), most};
    for (const bool sparse : {false, true}) {
      std::vector<float> scores = floats(units(), name + ".index_scores");
      const float loss =
          static_cast<float>(indexer_loss(ctx, documents, sparse ? &selection : nullptr, mass.data(),
                                          scores.data(), n, 1.0f / static_cast<float>(n))) /
          static_cast<float>(n);
      const std::string part = name + (sparse ? ".sparse" : ".dense");
      expect_near({&loss, 1}, part + ".loss");
      for (int t = 0; t < n; ++t) std::fill_n(scores.begin() + t * n + t + 1, n - t - 1, 0.0f);
      expect_near(scores, part + ".grad");
    }
  }
}

TrainBatch packed(const std::string& name) {
  std::vector<Token> tokens;
  std::vector<int32_t> starts;
  for (const int64_t id : integers(units(), name + ".input_ids")) tokens.push_back(static_cast<Token>(id));
  const std::vector<int64_t> documents = integers(units(), name + ".document_ids"),
                             mask = integers(units(), name + ".loss_mask");
  for (size_t i = 0; i < documents.size(); ++i)
    if (i == 0 || documents[i] != documents[i - 1]) starts.push_back(static_cast<int32_t>(i));
  std::vector<uint8_t> loss(tokens.size());  // of targets, not of rows that predict them
  for (size_t i = 0; i + 1 < loss.size(); ++i) loss[i + 1] = mask[i] != 0;
  TrainBatch batch;
  add_sequence(batch, static_cast<int>(tokens.size()), tokens, starts, loss);
  EXPECT_EQ(batch.counted(), std::count_if(mask.begin(), mask.end(), [](int64_t m) { return m != 0; }));
  return batch;
}

TEST(TrainUnits, PackedDocuments) {
  const Model model = load_model(golden("train/llama"));
  for (const std::string name : {"packed", "packed_masked"}) {
    const TrainBatch batch = packed(name);
    TestTrainer t = trainer_of(model, 32, 32);
    PassOptions options;
    options.objective.counted = batch.counted();
    const double expected = floats(units(), name + ".loss")[0];
    EXPECT_NEAR(t.pass(options, batch).language, expected, 1e-5 * expected) << name;
    const Weights& g = t.gradients.weights();
    expect_gradients({{name + ".grad.model.embed_tokens.weight", numbers(g.embed)},
                      {name + ".grad.model.layers.0.self_attn.k_proj.weight", numbers(g.layers[0].wk)},
                      {name + ".grad.model.norm.weight", numbers(g.output_norm)}});
  }
}

TEST(TrainUnits, LowRankAdapters) {
  const Model model = load_model(golden("train/llama"));
  const TrainBatch batch = batch_of(units(), "lora.input_ids");
  TestTrainer t = trainer_of(model, 64, 32, false, [](const WeightSlot&) { return false; });
  const LoraConfig lora{static_cast<int>(settings("lora").at("rank").as_int()),
                        settings("lora").at("alpha").as_double()};
  const Adapters adapters(model.config, lora), gradients(model.config, lora);
  const auto each = [&](const Adapters& set, const auto& f) {
    for (size_t layer = 0; layer < set.layers().size(); ++layer) {
      const std::string at = "model.layers." + std::to_string(layer) + ".self_attn.";
      const LayerAdapters& l = set.layers()[layer];
      f(at + "q_proj.A", l.wq.a);
      f(at + "q_proj.B", l.wq.b);
      f(at + "v_proj.A", l.wv.a);
      f(at + "v_proj.B", l.wv.b);
    }
  };
  each(adapters, [](const std::string& name, const Mat& m) {
    std::ranges::copy(floats(units(), "lora." + name), data(m));
  });
  Trainee trainee = t.trainee();
  trainee.adapters = &adapters;
  trainee.adapter_gradients = &gradients;
  PassOptions options;
  options.objective.counted = batch.counted();
  const double expected = floats(units(), "lora.loss")[0];
  EXPECT_NEAR(train_pass(t.ctx, options, trainee, t.state, batch).language, expected, 1e-5 * expected);
  std::vector<NamedGradient> found;
  each(gradients,
       [&](const std::string& name, const Mat& m) { found.push_back({"lora.grad." + name, numbers(m)}); });
  expect_gradients(found);

  merge_adapters(t.ctx, adapters, t.parameters.weights());
  EXPECT_NEAR(t.pass(options, batch).language, expected, 1e-5 * expected);
}

TEST(TrainUnits, AdamW) {
  ThreadPool pool(1);
  const Context ctx{pool, kernels_for(supported_isas().back()), Comm{}};
  for (const std::string name : {"adamw_first", "adamw_seventh", "adamw_no_decay"}) {
    const Json s = settings(name);
    AdamW o;
    o.beta1 = s.at("betas").as_array()[0].as_double();
    o.beta2 = s.at("betas").as_array()[1].as_double();
    o.eps = s.at("eps").as_double();
    o.decay = s.at("weight_decay").as_double();
    std::vector<float> param = floats(units(), name + ".param"), grad = floats(units(), name + ".grad"),
                       m = floats(units(), name + ".m"), v = floats(units(), name + ".v");
    const TrainedTensor t{
        name, param.data(), grad.data(), m.data(), v.data(), {1, static_cast<int>(param.size())}, true};
    adamw_step(ctx, o, s.at("lr").as_double(), s.at("step").as_int(), 1.0, {&t, 1});
    expect_near(param, name + ".new_param");
    expect_near(m, name + ".new_m");
    expect_near(v, name + ".new_v");
  }
}

}  // namespace
}  // namespace minke
