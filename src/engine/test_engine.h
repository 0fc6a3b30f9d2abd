#pragma once
// For tests: an engine over a tiny model, and requests that are waited for.

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/engine.h"
#include "model/test_models.h"
#include "text/small_tokenizer.h"

namespace minke {

// The small tokenizer with a word for every id of the golden models.
inline const Tokenizer& test_tokenizer() {
  static const Tokenizer tokenizer = [] {
    constexpr int kVocab = 320;
    Json json = small_tokenizer();
    Json& vocab = *json.find("model")->find("vocab");
    const auto used =
        static_cast<int64_t>(vocab.as_object().size() + json.at("added_tokens").as_array().size());
    // Added tokens keep their ids; words follow them.
    for (int64_t id = used; id < kVocab; ++id) vocab.set(fmt::format("word{}", id), id);
    return Tokenizer::from_json(to_string(json), "test");
  }();
  return tokenizer;
}

// What came of one request. Lives longer than the engine it is given to.
class Pending {
 public:
  // The request with callbacks that fill this.
  Request watch(Request r) {
    r.output = [this, own = std::move(r.output)](const Output& out) {
      if (own) own(out);
      std::lock_guard lock(mutex_);
      EXPECT_FALSE(finish_) << "a token after the end";
      outputs_.push_back(out);
      text_ += out.text;
      changed_.notify_all();
    };
    r.finish = [this, own = std::move(r.finish)](const Finish& f) {
      if (own) own(f);
      std::lock_guard lock(mutex_);
      EXPECT_FALSE(finish_) << "a second end";
      finish_ = f;
      text_ += f.text;
      changed_.notify_all();
    };
    return r;
  }

  Finish wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(120), [&] { return finish_.has_value(); })) {
      ADD_FAILURE() << "the request did not end";
      std::abort();
    }
    return *finish_;
  }
  bool finished() {
    std::lock_guard lock(mutex_);
    return finish_.has_value();
  }
  void wait_for_output() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(120), [&] { return finish_ || !outputs_.empty(); });
  }

  // After the end.
  std::vector<Token> tokens() const {
    std::vector<Token> t;
    for (const Output& o : outputs_) t.push_back(o.token);
    return t;
  }
  const std::vector<Output>& outputs() const { return outputs_; }
  const std::string& text() const { return text_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Output> outputs_;
  std::string text_;
  std::optional<Finish> finish_;
};

struct Ran {
  std::vector<Token> tokens;
  std::vector<Output> outputs;
  std::string text;
  Finish finish;
};

inline Ran run(Engine& engine, Request request) {
  Pending pending;
  engine.submit(pending.watch(std::move(request)));
  const Finish finish = pending.wait();
  return {pending.tokens(), pending.outputs(), pending.text(), finish};
}

struct EngineShape {
  int sequences = 4, context = 512, rows = 32, threads = 2;
  bool exact = false;  // f32 activations and cache
  ExpertSource* experts = nullptr;
  int draft = 0;
};

inline EngineOptions engine_options(const EngineShape& shape) {
  EngineOptions o;
  o.instance.limits.sequences = shape.sequences;
  o.instance.limits.context = shape.context;
  o.instance.limits.rows = shape.rows;
  o.instance.limits.threads = shape.threads;
  o.instance.experts = shape.experts;
  o.draft = shape.draft;
  if (shape.exact) {
    o.instance.limits.kv = KvFormat::f32;
    o.instance.round_activations = false;
  }
  return o;
}

// A greedy request that does not stop of itself.
inline Request request_of(std::vector<Token> prompt, int max_tokens) {
  Request r;
  r.prompt = std::move(prompt);
  r.max_tokens = max_tokens;
  r.ignore_end = true;
  return r;
}

// The same, sampled.
inline Request sampled(std::vector<Token> prompt, int max_tokens, uint64_t seed) {
  Request r = request_of(std::move(prompt), max_tokens);
  r.sampling.temperature = 1;
  r.sampling.seed = seed;
  return r;
}

}  // namespace minke
