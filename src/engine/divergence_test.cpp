#include "engine/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/test_engine.h"
#include "model/random_config.h"

namespace minke {
namespace {

InstanceOptions options_of(int rows, int logit_rows) {
  InstanceOptions o;
  o.limits.rows = rows;
  o.limits.logit_rows = logit_rows;
  o.limits.context = 128;
  o.limits.threads = 2;
  return o;
}

// ln p of every token of the vocabulary at each position of a text read from an empty context, in double.
std::vector<std::vector<double>> log_probabilities(const Model& model, std::span<const Token> tokens) {
  const int n = static_cast<int>(tokens.size());
  Instance instance(model, options_of(n, n));
  KvView view = reserved(instance, n);
  const SequenceSlice slice{&view, 0, n, 0, Want::all_logits};
  instance.forward({tokens, {&slice, 1}, {}});
  const int vocab = instance.config().vocab;
  std::vector<std::vector<double>> rows;
  for (int i = 0; i < n; ++i) {
    const float* logits = instance.state().logits + int64_t{i} * vocab;
    std::vector<double>& row = rows.emplace_back(logits, logits + vocab);
    double total = 0;
    for (const double l : row) total += std::exp(l);
    for (double& l : row) l -= std::log(total);
  }
  return rows;
}

struct Direct {
  std::vector<double> divergences;
  double nll_a = 0, nll_b = 0, same = 0;
};

// By the definition, window by window; start < 0: none.
Direct directly(const Model& a, const Model& b, std::span<const Token> tokens, int window, Token start) {
  Direct direct;
  for (size_t at = 0; at < tokens.size(); at += static_cast<size_t>(window)) {
    std::vector<Token> piece(
        tokens.begin() + static_cast<int64_t>(at),
        tokens.begin() + static_cast<int64_t>(std::min(tokens.size(), at + static_cast<size_t>(window))));
    if (start >= 0) piece.insert(piece.begin(), start);
    const auto pa = log_probabilities(a, piece), pb = log_probabilities(b, piece);
    for (size_t i = start >= 0 ? 1 : 0; i + 1 < piece.size(); ++i) {
      double kl = 0;
      for (size_t t = 0; t < pa[i].size(); ++t) kl += std::exp(pa[i][t]) * (pa[i][t] - pb[i][t]);
      direct.divergences.push_back(kl);
      direct.nll_a -= pa[i][static_cast<size_t>(piece[i + 1])];
      direct.nll_b -= pb[i][static_cast<size_t>(piece[i + 1])];
      direct.same +=
          std::ranges::max_element(pa[i]) - pa[i].begin() == std::ranges::max_element(pb[i]) - pb[i].begin();
    }
  }
  return direct;
}

class DivergenceOf : public testing::TestWithParam<const char*> {
 protected:
  const Model model_ = load_model(golden_folder(GetParam()));
};

TEST_P(DivergenceOf, AModelFromItselfIsNone) {
  Random random(1);
  const std::vector<Token> tokens = random_tokens(random, model_.config.vocab, 70);
  Instance a(model_, options_of(16, 5)), b(model_, options_of(9, 64));
  const Divergence d = divergence(a, b, tokens, 33, -1);
  EXPECT_EQ(d.mean, 0);
  EXPECT_EQ(d.most, 0);
  EXPECT_EQ(d.same_top, 1);
  EXPECT_EQ(d.a.nll, d.b.nll);
  EXPECT_EQ(d.a.nll, perplexity(a, tokens, 33, -1).nll);
  EXPECT_EQ(d.a.predicted, 32 + 32 + 3);
}

INSTANTIATE_TEST_SUITE_P(Models, DivergenceOf, testing::Values("llama", "deepseek_v3"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Divergence, IsWhatItsDefinitionSays) {
  for (const Token start : {Token{-1}, Token{3}}) {
    Random random(2);
    const Config config = load_model(golden_folder("qwen2")).config;
    const RandomModel a(config, 5, Format::f32), b(config, 6, Format::f32);
    const std::vector<Token> tokens = random_tokens(random, config.vocab, 61);
    Instance of_a(a.model(), options_of(8, 3)), of_b(b.model(), options_of(8, 3));
    const Divergence d = divergence(of_a, of_b, tokens, 20, start);
    Direct direct = directly(a.model(), b.model(), tokens, 20, start);
    const auto n = static_cast<double>(direct.divergences.size());
    ASSERT_EQ(d.a.predicted, static_cast<int64_t>(n));
    EXPECT_EQ(d.a.predicted,
              start < 0 ? 3 * 19 : 3 * 19);  // of the last window's only token nothing is predicted
    double mean = 0, squares = 0;
    for (const double kl : direct.divergences) mean += kl / n;
    for (const double kl : direct.divergences) squares += (kl - mean) * (kl - mean);
    std::ranges::sort(direct.divergences);
    EXPECT_GT(mean, 1e-3);
    const double near = 1e-5 * mean;
    EXPECT_NEAR(d.mean, mean, near);
    EXPECT_NEAR(d.error, std::sqrt(squares / (n - 1) / n), near);
    EXPECT_NEAR(d.median, direct.divergences[static_cast<size_t>(std::ceil(n / 2)) - 1], near);
    EXPECT_NEAR(d.p99, direct.divergences[static_cast<size_t>(std::ceil(0.99 * n)) - 1], near);
    EXPECT_NEAR(d.most, direct.divergences.back(), near);
    EXPECT_NEAR(d.same_top, direct.same / n, 1e-12);
    EXPECT_NEAR(d.a.nll, direct.nll_a / n, 1e-5);
    EXPECT_NEAR(d.b.nll, direct.nll_b / n, 1e-5);
  }
}

TEST(Divergence, OfRows) {
  const std::vector<float> even = {0, 0}, lean = {std::log(3.0f), 0}, shifted = {50 + std::log(3.0f), 50};
  EXPECT_NEAR(divergence(even, lean), 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25), 1e-7);
  EXPECT_NEAR(divergence(lean, even), 0.75 * std::log(0.75 / 0.5) + 0.25 * std::log(0.25 / 0.5), 1e-7);
  EXPECT_NEAR(divergence(lean, shifted), 0, 1e-6);
  EXPECT_EQ(divergence(lean, lean), 0);
  const std::vector<float> far = {-200, 0}, near = {0, -200};
  EXPECT_NEAR(divergence(far, near), 200, 1e-4);
}

TEST(Divergence, NeedsTwoTokensAndFiniteLogits) {
  const Config config = load_model(golden_folder("llama")).config;
  const RandomModel good(config, 1, Format::f32), bad(config, 2, Format::f32);
  Instance a(good.model(), options_of(8, 8)), b(bad.model(), options_of(8, 8));
  expect_says(error_of([&] { divergence(a, b, std::vector<Token>{1}, 8, -1); }), "shorter than two tokens");
  const_cast<float*>(bad.model().weights.output_norm.f32())[0] = std::numeric_limits<float>::quiet_NaN();
  expect_says(error_of([&] { divergence(a, b, std::vector<Token>{1, 2, 3}, 8, -1); }),
              "no finite prediction");
}

TEST(Divergence, NeedsOneVocabulary) {
  Model a, b;
  a.path = "a.gguf", b.path = "b.gguf";
  a.config.vocab = b.config.vocab = 320;
  const Tokenizer& known = test_tokenizer();
  check_same_vocabulary(a, known, b, known);
  const Tokenizer smaller = Tokenizer::from_json(to_string(small_tokenizer()), "small");
  expect_says(error_of([&] { check_same_vocabulary(a, known, b, smaller); }), "is unused and not 'word");
  Json json = small_tokenizer();
  Json& vocab = *json.find("model")->find("vocab");
  std::swap(*vocab.find("a"), *vocab.find("b"));
  const Tokenizer swapped = Tokenizer::from_json(to_string(json), "swapped");
  expect_says(error_of([&] { check_same_vocabulary(a, smaller, b, swapped); }), "is 'b' and not 'a'");
  b.config.vocab = 321;
  const std::string said = error_of([&] { check_same_vocabulary(a, known, b, known); });
  expect_says(said, "b.gguf: has another vocabulary than a.gguf: 321 tokens and not 320");
}

}  // namespace
}  // namespace minke
