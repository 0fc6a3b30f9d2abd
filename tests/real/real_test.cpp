// Published models, as anyone can fetch them: the numbers of golden/real, and what rounded activations cost.

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/perplexity.h"
#include "model/load.h"
#include "model/verify.h"
#include "text/tokenizer.h"

namespace minke {
namespace {

struct Published {
  const char *name, *file, *golden;
};

constexpr Published kModels[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-q4_1"},
    {"qwen_0_5b", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b-q4_k_m"},
    {"qwen_1_5b", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-1.5b-q4_k_m"},
};

class Real : public testing::TestWithParam<Published> {
 protected:
  void SetUp() override {
    if (!fs::exists(path())) GTEST_SKIP() << path() << " is not there: tools/fetch_model fetches it";
  }
  static fs::path path() { return fs::path(MINKE_MODELS_DIR) / GetParam().file; }
};

class Reference : public Real {
 protected:
  Safetensors golden_ = Safetensors::open(fs::path(MINKE_TESTS_DIR "/golden/real") /
                                          (std::string(GetParam().golden) + ".safetensors"));

  std::vector<Compared> compare(const VerifyOptions& options) {
    return verify(load_model(path()), golden_, options);
  }
  static const Compared& named(const std::vector<Compared>& results, std::string_view name) {
    for (const Compared& c : results)
      if (c.name == name) return c;
    throw Error(fmt::format("no tensor {}", name));
  }
};

TEST_P(Reference, IsReproducedWithExactActivations) {
  VerifyOptions options;
  const std::vector<Compared> results = compare(options);
  const Compared& nll = named(results, "nll");
  double largest = 0;
  for (const float l : to_floats(*golden_.tensor("nll"))) largest = std::max(largest, std::abs(double{l}));
  EXPECT_TRUE(nll.fault.empty()) << nll.fault;
  EXPECT_LT(nll.figure * largest, 1e-3);  // of every token
  EXPECT_TRUE(named(results, "greedy_ids").ok()) << named(results, "greedy_ids").figure;
  RecordProperty("largest_nll_difference", std::to_string(nll.figure * largest));
}

TEST_P(Reference, IsNearWithRoundedActivations) {
  VerifyOptions options;
  options.round_activations = true;
  options.kv = KvFormat::bf16;
  const std::vector<Compared> results = compare(options);
  EXPECT_LT(named(results, "nll").mean, 0.075);
  RecordProperty("mean_nll_difference", std::to_string(named(results, "nll").mean));
}

class Perplexity : public Real {
 protected:
  // Of the first 16,384 tokens of text.txt: documentation and sources of this project as they once were.
  double of(const Model& model, bool exact) {
    const Tokenizer tokenizer = load_tokenizer(model);
    std::vector<Token> tokens = tokenizer.encode(read_file(MINKE_TESTS_DIR "/real/text.txt"), Added::none);
    EXPECT_GE(tokens.size(), 16384u);
    tokens.resize(16384);
    InstanceOptions o;
    o.round_activations = !exact;
    o.limits.kv = exact ? KvFormat::f32 : KvFormat::bf16;
    o.limits.context = 2049;
    o.limits.threads = 0;
    o.limits.logit_rows = 64;
    Instance instance(model, o);
    const Token start = tokenizer.add_bos() ? tokenizer.bos().value_or(-1) : -1;
    const minke::Perplexity p = perplexity(instance, tokens, 2048, start);
    EXPECT_GE(p.predicted, 16000);
    return p.value();
  }
};

TEST_P(Perplexity, IsWithinOnePercentOfExactActivations) {
  const Model model = load_model(path());
  const double exact = of(model, true), rounded = of(model, false);
  EXPECT_NEAR(rounded / exact, 1, 0.01) << exact << ' ' << rounded;
  RecordProperty("exact", std::to_string(exact));
  RecordProperty("rounded", std::to_string(rounded));
}

const auto kNameOf = [](const auto& test) { return std::string(test.param.name); };
INSTANTIATE_TEST_SUITE_P(Models, Reference, testing::ValuesIn(kModels), kNameOf);
INSTANTIATE_TEST_SUITE_P(Models, Perplexity, testing::ValuesIn(kModels), kNameOf);

}  // namespace
}  // namespace minke
