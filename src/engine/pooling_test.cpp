#include "engine/pooling.h"

#include <thread>

#include "engine/test_engine.h"

namespace minke {
namespace {

std::vector<Token> prompt_of(uint64_t seed, int count) {
  Random random(seed);
  return random_tokens(random, 320, count);
}

Request pooled_request(std::vector<Token> prompt, Pooling how) {
  Request request;
  request.prompt = std::move(prompt);
  request.pooling = how;
  return request;
}

// From one forward pass over the whole prompt.
std::vector<float> reference(const Model& model, const std::vector<Token>& prompt, Pooling how) {
  const auto n = static_cast<int>(prompt.size()), dim = model.config.dim;
  InstanceOptions options = engine_options({.sequences = 1, .rows = n, .threads = 1}).instance;
  Instance instance(model, options);
  KvView view;
  EXPECT_TRUE(instance.kv().reserve(view, n));
  const SequenceSlice slice{&view, 0, n, 0, Want::all_hidden, n};
  instance.forward({prompt, {&slice, 1}, {}});
  std::vector<float> all;
  for (int i = 0; i < dim; ++i) {
    double sum = 0;
    for (int row = 0; row < n; ++row) sum += instance.state().output[row * dim + i];
    all.push_back(how == Pooling::mean ? static_cast<float>(sum / n)
                                       : instance.state().output[(n - 1) * dim + i]);
  }
  return all;
}

TEST(Pooling, IsOfAllHiddenStatesHoweverThePromptIsCut) {
  for (const char* name : {"llama", "deepseek_v32"}) {
    const Model model = load_model(golden_folder(name));
    const std::vector<Token> prompt = prompt_of(1, 150);
    for (const Pooling how : {Pooling::mean, Pooling::last}) {
      const std::vector<float> wanted = reference(model, prompt, how);
      for (const int rows : {7, 64, 512}) {
        Engine engine(model, test_tokenizer(), engine_options({.rows = rows}));
        for (int again = 0; again < 2; ++again) {  // the second time with a full cache
          const Finish finish = run(engine, pooled_request(prompt, how)).finish;
          EXPECT_EQ(finish.reason, FinishReason::stop);
          EXPECT_EQ(finish.pooled, wanted) << name << ", " << rows << " rows";
          EXPECT_EQ(finish.prompt_tokens, 150);
          EXPECT_EQ(finish.cached_tokens > 0, again == 1 && how == Pooling::last);
        }
      }
    }
  }
}

TEST(Pooling, ManyBesideAnswersInLittleMemory) {
  const Model model = load_model(golden_folder("deepseek_v32"));
  Engine engine(model, test_tokenizer(),
                engine_options({.sequences = 6, .context = 256, .rows = 48, .draft = 4}));
  std::vector<std::unique_ptr<Pending>> pending;
  std::vector<std::vector<Token>> prompts;
  for (uint64_t i = 0; i < 12; ++i) {
    prompts.push_back(prompt_of(i, 100 + static_cast<int>(i) * 7));
    pending.push_back(std::make_unique<Pending>());
    engine.submit(pending.back()->watch(i % 3 == 2 ? request_of(prompts.back(), 60)
                                                   : pooled_request(prompts.back(), Pooling::mean)));
  }
  for (uint64_t i = 0; i < 12; ++i) {
    const Finish finish = pending[i]->wait();
    if (i % 3 == 2) {
      EXPECT_EQ(finish.output_tokens, 60);
    } else {
      EXPECT_EQ(finish.pooled, reference(model, prompts[i], Pooling::mean)) << i;
      EXPECT_EQ(finish.output_tokens, 0);
    }
  }
}

TEST(Pooling, APositionThatIsFedAgainCountsOnce) {
  const float rows[3][2] = {{1, 2}, {3, 4}, {5, 9}};
  for (const Pooling how : {Pooling::mean, Pooling::last}) {
    Pooled pooled(how);
    pooled.add(0, rows[0], 2);
    pooled.add(1, rows[1], 2);
    for (int again = 0; again < 3; ++again) pooled.add(again, rows[again], 2);  // its pages were given up
    EXPECT_EQ(pooled.seen(), 3);
    EXPECT_EQ(pooled.vector(),
              how == Pooling::mean ? (std::vector<float>{3, 5}) : (std::vector<float>{5, 9}));
  }
}

}  // namespace
}  // namespace minke
