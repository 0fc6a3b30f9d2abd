// Drafts change how many steps an answer takes and nothing else: tokens stay, and so does their distribution.

#include <atomic>

#include "engine/test_engine.h"
#include "model/random_config.h"

namespace minke {
namespace {

const Model& mtp_model() {
  static const Model model = load_model(golden_folder("deepseek_v3_mtp"));
  return model;
}

std::vector<Token> prompt_of(uint64_t seed, int count) {
  Random random(seed);
  return random_tokens(random, 320, count);
}

// A sparse-attention model whose next token follows from the last one alone, in the model and in its MTP
// layer alike: layers add nothing, and the layer passes on the embedding. Its drafts are right.
class Clairvoyant {
 public:
  Clairvoyant() : random_(config(), 5, Format::f32) {
    Weights weights = random_.model().weights;  // views
    for_each_weight(config(), weights, [&](const WeightSlot& slot, Mat& m) {
      auto* values = const_cast<float*>(reinterpret_cast<const float*>(m.data));
      const bool adds = slot.role == Role::wo || slot.role == Role::down || slot.role == Role::shared_down ||
                        slot.role == Role::expert_down;
      if (adds || slot.role == Role::mtp_proj) std::fill_n(values, slot.count(), 0.0f);
      if (slot.vector && slot.role != Role::router_bias) std::fill_n(values, slot.count(), 1.0f);
      for (int i = 0; slot.role == Role::mtp_proj && i < slot.rows; ++i)
        values[int64_t{i} * slot.cols + i] = 1;
    });
  }
  const Model& model() const { return random_.model(); }

 private:
  static Config config() {
    Random random(11);
    Config c = random_config(random, "deepseek_v32");
    c.vocab = 320;
    c.mtp_layers = 1;
    c.layers = c.moe->first = 12;  // so that drafts cost little
    return c;
  }
  RandomModel random_;
};
const Model& clairvoyant() {
  static const Clairvoyant it;
  return it.model();
}

Ran plain(const Model& model, const Request& request) {
  Engine engine(model, test_tokenizer(), engine_options({.sequences = 1, .rows = 512, .threads = 1}));
  return run(engine, request);
}

EngineOptions drafting(EngineShape shape, DraftBy by) {
  EngineOptions o = engine_options(shape);
  o.draft_by = by;
  return o;
}

TEST(Speculation, TokensAreThoseOfPlainDecodingWhateverDrafts) {
  for (const Model* model : {&mtp_model(), &clairvoyant()}) {
    for (const DraftBy by : {DraftBy::automatic, DraftBy::lookup, DraftBy::mtp}) {
      int64_t accepted = 0, drafted = 0;
      for (const int draft : {1, 7, 20}) {
        Engine engine(
            *model, test_tokenizer(),
            drafting({.sequences = 3, .context = 1024, .rows = 19, .threads = draft % 3 + 1, .draft = draft},
                     by));
        std::vector<Request> requests;
        std::vector<Pending> pending(9);
        for (uint64_t i = 0; i < pending.size(); ++i) {
          requests.push_back(sampled(prompt_of(i, 10 + static_cast<int>(i) * 9), 50, i));
          Sampling& s = requests.back().sampling;
          s.temperature = i % 3 == 0 ? 20 : 0;
          s.logprobs = 2;
          if (i % 2 == 0) s.logit_bias = {{20, 900.0f}, {21, 900.0f}};
          if (i == 4) s.repetition_penalty = 1.1f;
          engine.submit(pending[i].watch(requests.back()));
        }
        for (size_t i = 0; i < pending.size(); ++i) {
          const Finish finish = pending[i].wait();
          const Ran alone = plain(*model, requests[i]);
          EXPECT_EQ(pending[i].tokens(), alone.tokens) << draft << ' ' << i;
          EXPECT_EQ(pending[i].text(), alone.text);
          for (size_t t = 0; t < alone.outputs.size(); ++t)
            EXPECT_EQ(pending[i].outputs()[t].logprobs.own, alone.outputs[t].logprobs.own);
          EXPECT_EQ(alone.finish.drafted_tokens, 0);
          accepted += finish.accepted_tokens;
          drafted += finish.drafted_tokens;
        }
        EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
      }
      EXPECT_GT(accepted, 0);
      EXPECT_GT(drafted, accepted) << "some drafts must fail for this to be a test";
    }
  }
}

TEST(Speculation, DraftsThatAreRightSaveTheirSteps) {
  for (const float temperature : {0.0f, 0.8f}) {
    Engine engine(clairvoyant(), test_tokenizer(), drafting({.draft = 7}, DraftBy::mtp));
    Request request = sampled(prompt_of(1, 40), 200, 3);
    request.sampling.temperature = temperature;
    const Ran ran = run(engine, request);
    EXPECT_EQ(ran.tokens, plain(clairvoyant(), request).tokens);
    EXPECT_GE(ran.finish.accepted_tokens, ran.finish.drafted_tokens * 9 / 10);
    EXPECT_LT(engine.stats().steps, 80) << "200 tokens";
  }
}

TEST(Speculation, ADraftReachesNeitherPastTheEndNorIntoWhatFollows) {
  Engine engine(clairvoyant(), test_tokenizer(),
                drafting({.sequences = 1, .context = 192, .rows = 32, .draft = 15}, DraftBy::mtp));
  for (const int most : {1, 2, 5, 9, 30}) {
    const Request request = request_of(prompt_of(3, 70), most);
    const Ran ran = run(engine, request);
    EXPECT_EQ(ran.tokens, plain(clairvoyant(), request).tokens);
    EXPECT_EQ(ran.finish.reason, FinishReason::length);
    // What was kept of it is what was said, in the MTP layer too: going on from there drafts as a fresh start
    // does.
    Request longer = request;
    longer.prompt.insert(longer.prompt.end(), ran.tokens.begin(), ran.tokens.end());
    longer.max_tokens = 20;
    const Ran went_on = run(engine, longer);
    EXPECT_EQ(went_on.tokens, plain(clairvoyant(), longer).tokens);
    EXPECT_EQ(went_on.finish.cached_tokens, 70 + most - 2);
    EXPECT_EQ(went_on.finish.accepted_tokens, went_on.finish.drafted_tokens);
  }
  const Ran ran = run(engine, request_of(prompt_of(5, 100), -1));
  EXPECT_EQ(ran.finish.reason, FinishReason::context);
  EXPECT_EQ(ran.tokens.size(), 92u);
}

TEST(Speculation, TheCacheGivesTheLayerWhatAFreshStartDoes) {
  const auto drafts = [](const Finish& f) { return std::pair(f.drafted_tokens, f.accepted_tokens); };
  Request next = request_of(prompt_of(1, 150), 60);
  next.sampling.logit_bias = {{20, 50.0f}, {21, 50.0f}, {22, 50.0f}};  // so that some drafts are right
  Engine fresh(mtp_model(), test_tokenizer(), drafting({.draft = 4}, DraftBy::mtp));
  const Ran wanted = run(fresh, next);
  EXPECT_GT(wanted.finish.accepted_tokens, 0);

  Engine engine(mtp_model(), test_tokenizer(), drafting({.rows = 48, .draft = 4}, DraftBy::mtp));
  Request first = request_of(prompt_of(1, 100), 30);  // shares a beginning with it
  run(engine, first);
  const Ran ran = run(engine, next);
  EXPECT_EQ(ran.finish.cached_tokens, 99);
  EXPECT_EQ(ran.tokens, wanted.tokens);
  EXPECT_EQ(drafts(ran.finish), drafts(wanted.finish));
}

TEST(Speculation, ALayerWhoseDraftsNeverComeTrueIsLeftAlone) {
  Engine engine(mtp_model(), test_tokenizer(), drafting({.draft = 7}, DraftBy::mtp));
  const Request request = request_of(prompt_of(2, 20), 400);
  const Ran ran = run(engine, request);
  EXPECT_EQ(ran.tokens, plain(mtp_model(), request).tokens);
  EXPECT_GT(ran.finish.drafted_tokens, 5);
  EXPECT_LT(ran.finish.drafted_tokens, 60) << "random weights";
}

TEST(Speculation, CancelledInTheMiddleOfDraftsLeavesTheOthersAlone) {
  Engine engine(clairvoyant(), test_tokenizer(), drafting({.sequences = 3, .draft = 7}, DraftBy::mtp));
  Pending pending[3];
  std::atomic<uint64_t> id = 0;
  Request r = request_of(prompt_of(7, 30), 200);
  r.output = [&, n = 0](const Output&) mutable {
    if (++n != 21) return;
    while (id == 0) std::this_thread::yield();
    engine.cancel(id);
  };
  id = engine.submit(pending[0].watch(r));
  for (uint64_t i : {1u, 2u}) engine.submit(pending[i].watch(request_of(prompt_of(i, 30), 90)));
  EXPECT_EQ(pending[0].wait().reason, FinishReason::cancelled);
  for (uint64_t i : {1u, 2u}) {
    EXPECT_EQ(pending[i].wait().reason, FinishReason::length);
    EXPECT_EQ(pending[i].tokens(), plain(clairvoyant(), request_of(prompt_of(i, 30), 90)).tokens);
  }
  EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
  // What the cancelled one left in the cache serves.
  Request again = request_of(prompt_of(7, 30), 60);
  for (const Token t : pending[0].tokens()) again.prompt.push_back(t);
  EXPECT_EQ(run(engine, again).tokens, plain(clairvoyant(), again).tokens);
}

TEST(Speculation, AnErrorOfTheLayerFailsTheStepsRequestsAndTheEngineServesOn) {
  class Failing : public ExpertSource {
   public:
    explicit Failing(const Model& m) : plain_(m.weights), layer_(m.config.layers) {}
    void want(int layer, std::span<const int32_t>) override {
      if (layer == layer_ && ++calls == fail_at) throw Error("input/output error", "the MTP layer's experts");
    }
    const Expert& get(int layer, int expert) override { return plain_.get(layer, expert); }
    void done(int) override {}
    int calls = 0;
    std::atomic<int> fail_at = 5;

   private:
    PlainExperts plain_;
    int layer_;
  };
  Failing experts(mtp_model());
  Engine engine(mtp_model(), test_tokenizer(), drafting({.experts = &experts, .draft = 3}, DraftBy::mtp));
  const Ran failed = run(engine, request_of(prompt_of(1, 20), 30));
  EXPECT_EQ(failed.finish.reason, FinishReason::failed);
  expect_says(failed.finish.error, "the MTP layer's experts");
  EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
  const Request request = request_of(prompt_of(2, 20), 30);
  EXPECT_EQ(run(engine, request).tokens, plain(mtp_model(), request).tokens);
}

TEST(Speculation, WithoutDraftsTheLayerTakesNoMemoryAndNoWork) {
  for (const DraftBy by : {DraftBy::automatic, DraftBy::lookup, DraftBy::mtp}) {
    for (const int draft : {0, 3}) {
      const InstanceOptions o = drafting({.draft = draft}, by).for_instance();
      const Instance instance(mtp_model(), o);
      EXPECT_EQ(instance.config().mtp_layers, draft > 0 && by != DraftBy::lookup ? 1 : 0);
    }
  }
  const std::string says = error_of([] {
    const Model llama = load_model(golden_folder("llama"));
    Engine engine(llama, test_tokenizer(), drafting({.draft = 3}, DraftBy::mtp));
  });
  expect_says(says, "no MTP layer");
}

// ---- sampled answers keep their distribution

constexpr Token kLetters[] = {30, 31};  // all that comes out
constexpr int kLength = 6, kAnswers = 1 << kLength, kSeeds = 4000;

Request letters(uint64_t seed) {
  Request r = sampled(prompt_of(77, 12), kLength, seed);
  for (const Token t : kLetters) r.sampling.logit_bias.emplace_back(t, 400.0f);
  return r;
}

// The chance of every answer, from the model's logits after each of its beginnings.
std::vector<double> chances(const Model& model) {
  std::vector<double> p(kAnswers, 1);
  InstanceOptions o;
  o.limits = {.rows = 64, .context = 64, .threads = 1};
  Instance instance(model, o);
  const Request r = letters(0);
  for (int answer = 0; answer < kAnswers; ++answer) {
    std::vector<Token> tokens = r.prompt;
    for (int i = 0, digits = answer; i < kLength; ++i, digits /= 2) {
      KvView view = reserved(instance, static_cast<int>(tokens.size()));
      const SequenceSlice slice{&view, 0, static_cast<int>(tokens.size()), 0, Want::last_logits};
      instance.forward({tokens, {&slice, 1}, {}});
      instance.kv().truncate(view, 0);
      double weight[2], total = 0;
      for (int l = 0; l < 2; ++l) {
        weight[l] = std::exp(double{instance.state().logits[kLetters[l]]});
        total += weight[l];
      }
      p[static_cast<size_t>(answer)] *= weight[digits % 2] / total;
      tokens.push_back(kLetters[digits % 2]);
    }
  }
  return p;
}

int number_of(const std::vector<Token>& answer) {
  int number = 0;
  for (int i = kLength; i-- > 0;) number = 2 * number + (answer[static_cast<size_t>(i)] - kLetters[0]);
  return number;
}

// Pearson's statistic, the answers expected less than five times taken together; how many terms it has.
std::pair<double, int> chi_square(const std::vector<int>& seen, const std::vector<double>& chance) {
  double sum = 0, rare = 0, rare_seen = 0;
  int terms = 0;
  const auto add = [&](double was, double expected) {
    sum += (was - expected) * (was - expected) / expected;
    ++terms;
  };
  for (size_t i = 0; i < seen.size(); ++i) {
    if (chance[i] * kSeeds >= 5) {
      add(seen[i], chance[i] * kSeeds);
    } else {
      rare += chance[i] * kSeeds;
      rare_seen += seen[i];
    }
  }
  if (rare >= 1) add(rare_seen, rare);
  return {sum, terms};
}

TEST(Speculation, SampledAnswersKeepTheirDistributionAndEachSeedItsAnswer) {
  const std::vector<double> chance = chances(mtp_model());
  std::vector<std::vector<Token>> answers[2];
  for (const int draft : {0, 3}) {
    Engine engine(mtp_model(), test_tokenizer(),
                  drafting({.sequences = 8, .context = 1024, .rows = 64, .draft = draft}, DraftBy::mtp));
    std::vector<Pending> pending(kSeeds);
    std::vector<int> seen(kAnswers);
    int64_t drafted = 0, accepted = 0;
    for (uint64_t seed = 0; seed < kSeeds; ++seed) engine.submit(pending[seed].watch(letters(seed)));
    for (Pending& p : pending) {
      const Finish f = p.wait();
      drafted += f.drafted_tokens;
      accepted += f.accepted_tokens;
      for (const Token t : p.tokens()) ASSERT_TRUE(t >= kLetters[0] && t <= kLetters[1]);
      ++seen[static_cast<size_t>(number_of(p.tokens()))];
      answers[draft > 0].push_back(p.tokens());
    }
    if (draft > 0) {
      EXPECT_GT(accepted, kSeeds / 10);
      EXPECT_GT(drafted - accepted, kSeeds / 10) << "some must fail for this to be a test";
    }
    const auto [sum, terms] = chi_square(seen, chance);
    EXPECT_GT(terms, 20);
    // Mean and variance of chi-square are n and 2 n with n = terms - 1; at 5 sigma one in some 100,000 fails.
    EXPECT_LT(sum, terms - 1 + 5 * std::sqrt(2.0 * (terms - 1))) << draft;
  }
  EXPECT_EQ(answers[0], answers[1]);
}

}  // namespace
}  // namespace minke
