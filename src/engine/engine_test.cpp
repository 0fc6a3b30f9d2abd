#include "engine/engine.h"

#include <atomic>
#include <set>
#include <thread>

#include "engine/test_engine.h"

namespace minke {
namespace {

const Model& llama() {
  static const Model model = load_model(golden_folder("llama"));
  return model;
}
const Model& deepseek() {
  static const Model model = load_model(golden_folder("deepseek_v32"));
  return model;
}

std::vector<Token> prompt_of(uint64_t seed, int count) {
  Random random(seed);
  return random_tokens(random, 320, count);
}

// The result of a request by itself, on one thread, with room for everything in one step.
Ran solo(const Model& model, const Request& request) {
  Engine engine(model, test_tokenizer(),
                engine_options({.sequences = 1, .context = 512, .rows = 512, .threads = 1}));
  return run(engine, request);
}

// The plain experts of a model, with something done before each layer's.
class HookedExperts : public ExpertSource {
 public:
  explicit HookedExperts(const Model& model) : plain_(model.weights) {}
  std::function<void()> before;  // on the engine's thread

  void want(int layer, std::span<const int32_t> experts) override {
    if (before) before();
    plain_.want(layer, experts);
  }
  const Expert& get(int layer, int expert) override { return plain_.get(layer, expert); }
  void done(int layer) override { plain_.done(layer); }

 private:
  PlainExperts plain_;
};

TEST(Engine, GreedyIsTheReference) {
  for (const char* name : kGoldenModels) {
    const Model model = load_model(golden_folder(name));
    if (model.config.vocab != 320) continue;
    const Safetensors golden = golden_tensors(name);
    std::vector<Token> prompt;
    for (const int64_t id : to_integers(*golden.tensor("input_ids")))
      prompt.push_back(static_cast<Token>(id));
    const std::vector<int64_t> wanted = to_integers(*golden.tensor("greedy_ids"));
    Engine engine(model, test_tokenizer(), engine_options({.rows = 7, .exact = true}));
    const Ran ran = run(engine, request_of(prompt, static_cast<int>(wanted.size())));
    EXPECT_EQ(std::vector<int64_t>(ran.tokens.begin(), ran.tokens.end()), wanted) << name;
    EXPECT_EQ(ran.finish.reason, FinishReason::length);
    EXPECT_EQ(ran.finish.prompt_tokens, static_cast<int>(prompt.size()));
    EXPECT_EQ(ran.finish.output_tokens, static_cast<int>(wanted.size()));
  }
}

// A prompt that repeats itself, so that drafts are found, some of them right.
std::vector<Token> repeating(uint64_t seed, int count) {
  const std::vector<Token> part = prompt_of(seed, 7);
  std::vector<Token> prompt;
  for (int i = 0; i < count; ++i) prompt.push_back(part[static_cast<size_t>(i) % part.size()]);
  return prompt;
}

TEST(Engine, DraftsChangeNothingButTheSteps) {
  for (const Model* model : {&llama(), &deepseek()}) {
    int64_t accepted = 0, drafted = 0;
    for (const int draft : {1, 7, 20}) {
      Engine engine(
          *model, test_tokenizer(),
          engine_options({.sequences = 3, .context = 1024, .rows = 40, .threads = 2, .draft = draft}));
      std::vector<Request> requests;
      std::vector<Pending> pending(9);
      for (uint64_t i = 0; i < pending.size(); ++i) {
        requests.push_back(sampled(repeating(i, 20 + static_cast<int>(i)), 60, i));
        requests.back().sampling.temperature = i % 3 == 0 ? 20 : 0;
        requests.back().sampling.logit_bias = {{20, 900.0f},
                                               {21, 900.0f}};  // so that answers repeat themselves
        requests.back().sampling.logprobs = 2;
        if (i == 4) requests.back().sampling.repetition_penalty = 1.1f;
        engine.submit(pending[i].watch(requests.back()));
      }
      for (size_t i = 0; i < pending.size(); ++i) {
        const Finish finish = pending[i].wait();
        const Ran alone = solo(*model, requests[i]);
        EXPECT_EQ(pending[i].tokens(), alone.tokens) << draft << ' ' << i;
        EXPECT_EQ(pending[i].text(), alone.text);
        for (size_t t = 0; t < alone.outputs.size(); ++t)
          EXPECT_EQ(pending[i].outputs()[t].logprobs.own, alone.outputs[t].logprobs.own);
        EXPECT_LE(finish.accepted_tokens, finish.drafted_tokens);
        EXPECT_EQ(alone.finish.drafted_tokens, 0);
        accepted += finish.accepted_tokens;
        drafted += finish.drafted_tokens;
      }
    }
    EXPECT_GT(accepted, 0);
    EXPECT_GT(drafted, accepted) << "some drafts must fail for this to be a test";
  }
}

TEST(Engine, ADraftReachesNeitherPastTheEndNorIntoWhatFollows) {
  Engine engine(llama(), test_tokenizer(),
                engine_options({.sequences = 1, .context = 128, .rows = 32, .draft = 15}));
  for (const int most : {1, 2, 5, 9, 30}) {
    const Request request = request_of(repeating(3, 40), most);
    const Ran ran = run(engine, request);
    EXPECT_EQ(ran.tokens, solo(llama(), request).tokens);
    EXPECT_EQ(ran.finish.reason, FinishReason::length);
    // What was kept of it is what was said: going on from there gives what a fresh start gives.
    Request longer = request;
    longer.prompt.insert(longer.prompt.end(), ran.tokens.begin(), ran.tokens.end());
    longer.max_tokens = 10;
    EXPECT_EQ(run(engine, longer).tokens, solo(llama(), longer).tokens);
  }
  Request full = request_of(repeating(5, 100), -1);
  const Ran ran = run(engine, full);
  EXPECT_EQ(ran.finish.reason, FinishReason::context);
  EXPECT_EQ(ran.tokens.size(), 28u);
}

TEST(Engine, ManyAtOnceGiveWhatEachGivesAlone) {
  for (const Model* model : {&llama(), &deepseek()}) {
    Engine engine(*model, test_tokenizer(),
                  engine_options({.sequences = 5, .context = 1024, .rows = 24, .threads = 2}));
    std::vector<Request> requests;
    std::vector<Pending> pending(14);
    for (uint64_t i = 0; i < pending.size(); ++i) {
      requests.push_back(
          sampled(prompt_of(i, 1 + static_cast<int>(i * 37 % 90)), 5 + static_cast<int>(i % 11), i));
      requests.back().sampling.top_p = i % 2 ? 0.9f : 1.0f;
      engine.submit(pending[i].watch(requests.back()));
    }
    for (size_t i = 0; i < pending.size(); ++i) {
      EXPECT_EQ(pending[i].wait().reason, FinishReason::length);
      EXPECT_EQ(pending[i].tokens(), solo(*model, requests[i]).tokens) << model->config.arch << ' ' << i;
    }
    EXPECT_EQ(engine.stats().running, 0);
    EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
  }
}

TEST(Engine, SameSeedSameOutputOnAnyThreadCount) {
  const Request request = sampled(prompt_of(3, 70), 40, 99);
  const std::vector<Token> wanted = solo(llama(), request).tokens;
  for (const int threads : {1, 2, 3, 7}) {
    Engine engine(llama(), test_tokenizer(), engine_options({.threads = threads}));
    EXPECT_EQ(run(engine, request).tokens, wanted) << threads;
    EXPECT_EQ(run(engine, request).tokens, wanted) << "again, from the cache";
  }
  Request other = request;
  other.sampling.seed = 100;
  EXPECT_NE(solo(llama(), other).tokens, wanted);
}

TEST(Engine, ContextFullAndLength) {
  Engine engine(llama(), test_tokenizer(), engine_options({.context = 100}));
  Ran ran = run(engine, request_of(prompt_of(1, 90), -1));
  EXPECT_EQ(ran.finish.reason, FinishReason::context);
  EXPECT_EQ(ran.tokens.size(), 10u);
  ran = run(engine, request_of(prompt_of(1, 90), 11));
  EXPECT_EQ(ran.finish.reason, FinishReason::context);
  EXPECT_EQ(ran.tokens.size(), 10u);
  ran = run(engine, request_of(prompt_of(1, 90), 10));
  EXPECT_EQ(ran.finish.reason, FinishReason::length);
  EXPECT_EQ(ran.tokens.size(), 10u);
  ran = run(engine, request_of(prompt_of(1, 99), -1));
  EXPECT_EQ(ran.finish.reason, FinishReason::context);
  EXPECT_EQ(ran.tokens.size(), 1u);
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 5), 1)).tokens.size(), 1u);
}

// ---- ends

// Only small letters come out, one a token.
Request letters(uint64_t seed, int count) {
  Request r = sampled(prompt_of(seed, 20), count, seed);
  for (char c = 'a'; c <= 'z'; ++c)
    r.sampling.logit_bias.emplace_back(*test_tokenizer().find(std::string(1, c)), 500.0f);
  return r;
}

TEST(Engine, StopStringsAcrossTokens) {
  Engine engine(llama(), test_tokenizer(), engine_options({}));
  const std::string text = run(engine, letters(5, 40)).text;
  ASSERT_EQ(text.size(), 40u);
  for (const size_t at : {0u, 7u, 36u}) {
    Request r = letters(5, 40);
    const std::string stop = text.substr(at, 4);
    r.stop = {"no such thing", stop};
    const Ran ran = run(engine, r);
    EXPECT_EQ(ran.finish.reason, FinishReason::stop);
    EXPECT_EQ(ran.finish.stop, stop);
    EXPECT_EQ(ran.text, text.substr(0, text.find(stop)));
    EXPECT_EQ(ran.tokens.size(), text.find(stop) + 4);
  }
  Request never = letters(5, 40);  // what is held back at the end comes out
  never.stop = {text.substr(38) + "!"};
  EXPECT_EQ(run(engine, never).text, text);
}

TEST(Engine, StopTokensAndEndTokens) {
  Engine engine(llama(), test_tokenizer(), engine_options({}));
  const Ran whole = run(engine, letters(6, 30));
  Request r = letters(6, 30);
  r.stop_tokens = {whole.tokens[9]};
  const Ran stopped = run(engine, r);
  const auto first =
      std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[9]) - whole.tokens.begin();
  EXPECT_EQ(stopped.finish.reason, FinishReason::stop);
  EXPECT_EQ(static_cast<int64_t>(stopped.tokens.size()), first + 1);
  EXPECT_EQ(stopped.text,
            whole.text.substr(0, static_cast<size_t>(first)));  // its own text does not come out

  for (const bool ignore : {false, true}) {
    Request end = request_of(prompt_of(2, 10), 8);
    end.ignore_end = ignore;
    end.sampling.logit_bias = {{1, 900.0f}};  // the config's eos
    const Ran ran = run(engine, end);
    EXPECT_EQ(ran.finish.reason, ignore ? FinishReason::length : FinishReason::stop);
    EXPECT_EQ(ran.tokens.size(), ignore ? 8u : 1u);
    if (!ignore) {
      EXPECT_EQ(ran.text, "");
    }
  }
}

// ---- sampling seen from outside

TEST(Engine, LogprobsAreOfTheModelAndBiasForces) {
  Engine engine(llama(), test_tokenizer(), engine_options({}));
  Request r = request_of(prompt_of(4, 12), 6);
  r.sampling.logprobs = 5;
  const Ran plain = run(engine, r);
  for (const Output& o : plain.outputs) {
    ASSERT_EQ(o.logprobs.top.size(), 5u);
    EXPECT_EQ(o.logprobs.top[0].first, o.token);  // greedy
    EXPECT_EQ(o.logprobs.top[0].second, o.logprobs.own);
    double total = 0;
    for (size_t i = 0; i < 5; ++i) {
      if (i > 0) {
        EXPECT_GE(o.logprobs.top[i - 1].second, o.logprobs.top[i].second);
      }
      total += std::exp(o.logprobs.top[i].second);
    }
    EXPECT_LE(total, 1 + 1e-5);
  }
  r.sampling.logit_bias = {{plain.outputs[0].logprobs.top[3].first, 800.0f}};
  const Ran forced = run(engine, r);
  EXPECT_EQ(forced.tokens, std::vector<Token>(6, r.sampling.logit_bias[0].first));
  EXPECT_EQ(forced.outputs[0].logprobs.own, plain.outputs[0].logprobs.top[3].second);  // as without the bias
  EXPECT_EQ(forced.outputs[0].logprobs.top, plain.outputs[0].logprobs.top);
  EXPECT_TRUE(run(engine, request_of(prompt_of(4, 12), 1)).outputs[0].logprobs.top.empty());
}

TEST(Engine, PenaltiesKeepTokensFromComingBack) {
  Engine engine(llama(), test_tokenizer(), engine_options({}));
  Request r = request_of(prompt_of(8, 30), 60);
  r.sampling.presence_penalty = 100;
  const std::vector<Token> tokens = run(engine, r).tokens;
  EXPECT_EQ(std::set<Token>(tokens.begin(), tokens.end()).size(), tokens.size());
}

TEST(Engine, TokensThatAreNoneNeverComeOut) {
  // A tokenizer of fewer words than the model has rows.
  const Tokenizer small = Tokenizer::from_json(to_string(small_tokenizer()), "small");
  ASSERT_LT(small.size(), 320);
  Engine engine(llama(), small, engine_options({}));
  Request r = sampled(prompt_of(9, 10), 200, 1);
  r.sampling.temperature = 50;
  for (const Token t : run(engine, r).tokens) EXPECT_LT(t, small.size());
}

TEST(Engine, NumbersThatAreNotFiniteFailTheRequestAlone) {
  Model model = load_model(golden_folder("llama"));
  auto* norm = const_cast<float*>(model.weights.output_norm.f32());
  Engine engine(model, test_tokenizer(), engine_options({}));
  const std::vector<Token> good = run(engine, request_of(prompt_of(1, 10), 5)).tokens;
  const float was = norm[0];
  for (const float bad : {NAN, INFINITY}) {
    norm[0] = bad;
    for (const float temperature : {0.0f, 1.0f}) {
      Request r = sampled(prompt_of(2, 10), 5, 1);
      r.sampling.temperature = temperature;
      r.sampling.logprobs = 3;
      const Finish f = run(engine, r).finish;
      EXPECT_EQ(f.reason, FinishReason::failed);
      expect_says(f.error, "not finite");
    }
  }
  norm[0] = was;
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 10), 5)).tokens, good);
}

// ---- cancelling

TEST(Engine, CancelBeforeStart) {
  Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 1}));
  Pending first, second;
  engine.submit(first.watch(request_of(prompt_of(1, 10), 300)));
  const uint64_t waiting = engine.submit(second.watch(request_of(prompt_of(2, 10), 300)));
  engine.cancel(waiting);
  const Finish f = second.wait();
  EXPECT_EQ(f.reason, FinishReason::cancelled);
  EXPECT_EQ(f.output_tokens, 0);
  EXPECT_EQ(first.wait().reason, FinishReason::length);
  engine.cancel(waiting);  // gone: nothing happens
  engine.cancel(12345);
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 10), 3)).finish.reason, FinishReason::length);
}

TEST(Engine, CancelDuringPrefill) {
  HookedExperts experts(deepseek());
  Engine engine(deepseek(), test_tokenizer(), engine_options({.rows = 4, .experts = &experts}));
  std::atomic<uint64_t> id = 0;
  std::atomic<int> steps = 0;
  experts.before = [&] {
    if (++steps != 7) return;
    while (id == 0) std::this_thread::yield();
    engine.cancel(id);
  };
  Pending pending;
  id = engine.submit(pending.watch(request_of(prompt_of(1, 200), 10)));
  const Finish f = pending.wait();
  EXPECT_EQ(f.reason, FinishReason::cancelled);
  EXPECT_EQ(f.output_tokens, 0);
  EXPECT_LT(steps, 20);  // of the hundred that the prompt would have taken
  experts.before = nullptr;
  EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 200), 4)).tokens,
            solo(deepseek(), request_of(prompt_of(1, 200), 4)).tokens);
}

TEST(Engine, CancelDuringDecodeFromTheCallbackAndFromOutside) {
  Engine engine(llama(), test_tokenizer(), engine_options({}));
  std::atomic<uint64_t> id = 0;
  Request r = request_of(prompt_of(1, 10), 400);
  r.output = [&, n = 0](const Output&) mutable {
    if (++n != 5) return;
    while (id == 0) std::this_thread::yield();
    engine.cancel(id);
  };
  Pending inside, outside;
  id = engine.submit(inside.watch(r));
  EXPECT_EQ(inside.wait().reason, FinishReason::cancelled);
  EXPECT_EQ(inside.tokens().size(), 5u);

  const uint64_t other = engine.submit(outside.watch(request_of(prompt_of(2, 10), -1)));
  outside.wait_for_output();
  engine.cancel(other);
  const Finish f = outside.wait();
  EXPECT_TRUE(f.reason == FinishReason::cancelled || f.reason == FinishReason::context);
  EXPECT_EQ(f.output_tokens, static_cast<int>(outside.tokens().size()));
}

TEST(Engine, CallbacksMaySubmit) {
  Pending first, second;
  Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 1}));
  Request r = request_of(prompt_of(1, 10), 3);
  r.finish = [&](const Finish&) { engine.submit(second.watch(request_of(prompt_of(2, 10), 3))); };
  engine.submit(first.watch(r));
  EXPECT_EQ(first.wait().reason, FinishReason::length);
  EXPECT_EQ(second.wait().reason, FinishReason::length);
}

TEST(Engine, DestroyedWhileBusy) {
  std::vector<Pending> pending(9);
  Pending late;
  {
    Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 2}));
    for (size_t i = 0; i < pending.size(); ++i) {
      Request r = request_of(prompt_of(i, 30), 400);
      if (i == 8)
        r.finish = [&](const Finish&) { engine.submit(late.watch(request_of(prompt_of(2, 10), 3))); };
      engine.submit(pending[i].watch(r));
    }
    pending[0].wait_for_output();
  }
  for (Pending& p : pending) {
    ASSERT_TRUE(p.finished());
    EXPECT_TRUE(p.wait().reason == FinishReason::cancelled || p.wait().reason == FinishReason::length);
  }
  ASSERT_TRUE(late.finished());  // submitted from a callback while the engine ended
  EXPECT_EQ(late.wait().reason, FinishReason::cancelled);
}

// ---- pages

TEST(Engine, QueuesWhenPagesAreShort) {
  // 5 pages; each request takes 2, so two run at once and the others wait their turn.
  Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 4, .context = 128}));
  ASSERT_EQ(engine.stats().pages, 5);
  std::vector<Request> requests;
  std::vector<Pending> pending(10);
  for (uint64_t i = 0; i < pending.size(); ++i) {
    requests.push_back(sampled(prompt_of(i, 70), 20, i));
    engine.submit(pending[i].watch(requests.back()));
  }
  for (size_t i = 0; i < pending.size(); ++i) {
    EXPECT_EQ(pending[i].wait().reason, FinishReason::length);
    EXPECT_EQ(pending[i].tokens(), solo(llama(), requests[i]).tokens) << i;
  }
}

TEST(Engine, ALargeRequestIsNotPassedByForEver) {
  Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 4, .context = 256}));
  std::mutex mutex;
  std::vector<int> started;
  std::vector<Pending> pending(12);
  for (int i = 0; i < 12; ++i) {
    Request r =
        i == 3 ? request_of(prompt_of(1, 200), -1) : request_of(prompt_of(static_cast<uint64_t>(i), 50), 30);
    r.output = [&, i, first = true](const Output&) mutable {
      if (!std::exchange(first, false)) return;
      std::lock_guard lock(mutex);
      started.push_back(i);
    };
    engine.submit(pending[static_cast<size_t>(i)].watch(r));
  }
  for (Pending& p : pending) p.wait();
  const auto at = std::find(started.begin(), started.end(), 3);
  EXPECT_LE(at - started.begin(), 3) << "those submitted later went by";
  EXPECT_EQ(pending[3].wait().reason, FinishReason::context);
}

TEST(Engine, PrefixesComeFromTheCacheUnchanged) {
  for (const Model* model : {&llama(), &deepseek()}) {
    Engine engine(*model, test_tokenizer(), engine_options({.rows = 48}));
    const Ran first = run(engine, request_of(prompt_of(1, 150), 20));
    EXPECT_EQ(first.finish.cached_tokens, 0);
    std::vector<Token> next = prompt_of(1, 150);  // the conversation goes on
    next.insert(next.end(), first.tokens.begin(), first.tokens.end());
    const std::vector<Token> more = prompt_of(2, 30);
    next.insert(next.end(), more.begin(), more.end());
    const Ran second = run(engine, request_of(next, 20));
    EXPECT_EQ(second.finish.cached_tokens, 169);  // all but the last token of the answer, which was never fed
    EXPECT_EQ(second.tokens, solo(*model, request_of(next, 20)).tokens);

    std::vector<Token> branch(next.begin(), next.begin() + 100);  // another way on from its middle
    branch.insert(branch.end(), more.begin(), more.end());
    const Ran third = run(engine, request_of(branch, 20));
    EXPECT_EQ(third.finish.cached_tokens, 100);
    EXPECT_EQ(third.tokens, solo(*model, request_of(branch, 20)).tokens);
    EXPECT_EQ(run(engine, request_of(branch, 20)).finish.cached_tokens,
              129);  // the last one is computed anew
  }
}

TEST(Engine, WaitingForPagesLeavesTheCacheAlone) {
  Engine engine(llama(), test_tokenizer(), engine_options({.sequences = 2, .context = 256}));  // 5 pages
  run(engine, request_of(prompt_of(1, 66), 1));                                                // 2 pages kept
  Pending small, large;
  std::atomic<bool> submitted = false, passed = false, cancelled = false;
  Request r = request_of(prompt_of(2, 20), 60);  // 2 pages
  r.output = [&, n = 0](const Output&) mutable {
    ++n;
    while (n == 1 && !submitted) std::this_thread::yield();
    if (n == 2) passed = true;  // a step with the other one waiting lies behind
    while (n == 3 && !cancelled) std::this_thread::yield();
  };
  engine.submit(small.watch(r));
  const uint64_t waits = engine.submit(large.watch(request_of(prompt_of(3, 200), -1)));  // 4 pages
  submitted = true;
  while (!passed) std::this_thread::yield();
  engine.cancel(waits);
  cancelled = true;
  large.wait();
  small.wait();
  EXPECT_EQ(engine.stats().free_pages, 5);
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 66), 1)).finish.cached_tokens, 65);
}

// ---- errors

TEST(Engine, AnErrorOfTheStepFailsItsRequestsAndTheEngineServesOn) {
  HookedExperts experts(deepseek());
  Engine engine(deepseek(), test_tokenizer(), engine_options({.sequences = 2, .experts = &experts}));
  std::atomic<int> calls = 0;
  experts.before = [&] {
    if (++calls == 9) throw Error("input/output error", "expert 7 of layer 2");
  };
  std::vector<Pending> pending(4);
  for (size_t i = 0; i < pending.size(); ++i)
    engine.submit(pending[i].watch(request_of(prompt_of(i, 20), 30)));
  int failed = 0;
  for (size_t i = 0; i < pending.size(); ++i) {
    const Finish f = pending[i].wait();
    if (f.reason == FinishReason::failed) {
      ++failed;
      expect_says(f.error, "expert 7 of layer 2");
      continue;
    }
    EXPECT_EQ(f.reason, FinishReason::length);
    EXPECT_EQ(pending[i].tokens(), solo(deepseek(), request_of(prompt_of(i, 20), 30)).tokens) << i;
  }
  EXPECT_GE(failed, 1);
  EXPECT_LE(failed, 2);
  EXPECT_EQ(engine.stats().free_pages, engine.stats().pages);
  EXPECT_EQ(run(engine, request_of(prompt_of(9, 20), 5)).tokens,
            solo(deepseek(), request_of(prompt_of(9, 20), 5)).tokens);
}

TEST(Engine, WrongRequestsAreRefusedWhenSubmitted) {
  Engine engine(llama(), test_tokenizer(), engine_options({.context = 100}));
  const auto refused = [&](const std::function<void(Request&)>& alter, std::string_view says) {
    Request r = request_of(prompt_of(1, 10), 5);
    alter(r);
    expect_says(error_of([&] { engine.submit(r); }), says);
  };
  refused([](Request& r) { r.prompt.clear(); }, "prompt is empty");
  refused([](Request& r) { r.prompt[3] = 320; }, "token 320");
  refused([](Request& r) { r.prompt[3] = -1; }, "token -1");
  refused([](Request& r) { r.prompt.resize(100); }, "100 tokens");
  refused([](Request& r) { r.max_tokens = 0; }, "max_tokens");
  refused([](Request& r) { r.max_tokens = -2; }, "max_tokens");
  refused([](Request& r) { r.stop = {"a", ""}; }, "stop");
  refused([](Request& r) { r.sampling.temperature = -1; }, "temperature");
  refused([](Request& r) { r.sampling.temperature = NAN; }, "temperature");
  refused([](Request& r) { r.sampling.top_p = 0; }, "top_p");
  refused([](Request& r) { r.sampling.logit_bias = {{320, 1.0f}}; }, "logit_bias");
  refused([](Request& r) { r.sampling.repetition_penalty = 0; }, "repetition_penalty");
  EXPECT_EQ(engine.stats().waiting, 0);
  EXPECT_EQ(run(engine, request_of(prompt_of(1, 99), 1)).finish.reason, FinishReason::length);
}

}  // namespace
}  // namespace minke
