#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "engine/kept.h"
#include "engine/sequence.h"

namespace minke {
namespace {

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

int pages_of(int tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

const char* name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::context: return "context";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::failed: return "failed";
  }
  return "?";
}

InstanceOptions EngineOptions::for_instance() const {
  InstanceOptions o = instance;
  o.limits.logit_rows = o.limits.sequences + draft;
  return o;
}

struct Engine::Impl {
  Impl(const Model& m, const Tokenizer& t, const EngineOptions& o)
      : model(m),
        tokenizer(t),
        instance(m, o.for_instance()),
        context(o.instance.limits.context),
        most_draft(o.draft) {
    ends = tokenizer.end_tokens();
    ends.insert(ends.end(), model.config.eos.begin(), model.config.eos.end());
    for (Token id = 0; id < model.config.vocab; ++id)
      if (id >= tokenizer.size() || tokenizer.is_unused(id)) unused.push_back(id);
    publish();
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      ending = true;
    }
    wake.notify_one();
    thread.join();
  }

  // ---- what other threads call

  uint64_t submit(Request request) {
    check(request);
    std::unique_lock lock(mutex);
    const uint64_t id = ++last_id;
    inbox.push_back(std::make_unique<Sequence>(id, std::move(request), tokenizer));
    ++counts.waiting;
    lock.unlock();
    wake.notify_one();
    return id;
  }

  void cancel(uint64_t id) {
    {
      std::lock_guard lock(mutex);
      cancelled.push_back(id);
    }
    wake.notify_one();
  }

  void check(const Request& r) const {
    validate(r.sampling, model.config.vocab);
    if (r.prompt.empty()) throw Error("the prompt is empty");
    for (const Token t : r.prompt)
      if (t < 0 || t >= model.config.vocab)
        throw Error(fmt::format("token {} is outside the vocabulary", t), "prompt");
    if (r.prompt.size() >= static_cast<size_t>(context))
      throw Error(
          fmt::format("{} tokens, and the context holds {} with the answer", r.prompt.size(), context),
          "prompt", "a larger --ctx, or a shorter prompt");
    if (r.max_tokens == 0 || r.max_tokens < -1)
      throw Error(fmt::format("{} is not a number of tokens", r.max_tokens), "max_tokens");
    for (const std::string& s : r.stop)
      if (s.empty()) throw Error("a stop string is empty", "stop");
  }

  // ---- the engine's thread

  void run() {
    while (receive()) {
      admit();
      if (!running.empty()) step();
    }
    for (auto& s : running) finish(*s, FinishReason::cancelled);
    running.clear();
    do {  // those that the callbacks submit now, too: every request has its finish
      for (auto& s : std::exchange(waiting, {})) finish(*s, FinishReason::cancelled);
      std::lock_guard lock(mutex);
      for (auto& s : inbox) waiting.push_back(std::move(s));
      inbox.clear();
    } while (!waiting.empty());
  }

  // Waits for work; takes in what came. False when the engine ends.
  bool receive() {
    std::vector<uint64_t> cancels;
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] {
        return ending || !inbox.empty() || !cancelled.empty() || !running.empty() || !waiting.empty();
      });
      for (auto& s : inbox) waiting.push_back(std::move(s));
      inbox.clear();
      cancels.swap(cancelled);
      if (ending) return false;
    }
    for (const uint64_t id : cancels) {
      const auto same = [&](const auto& s) { return s->id == id; };
      for (auto* list : {&running, &waiting}) {
        const auto it = std::find_if(list->begin(), list->end(), same);
        if (it == list->end()) continue;
        finish(**it, FinishReason::cancelled);
        list->erase(it);
      }
    }
    return true;
  }

  // Starts waiting requests in order while there are places, and pages for prompt and whole answer: what runs
  // never runs out.
  void admit() {
    while (!waiting.empty() && static_cast<int>(running.size()) < instance.state().limits.sequences) {
      Sequence& s = *waiting.front();
      const int wanted =
          s.request.max_tokens < 0
              ? context
              : static_cast<int>(std::min<int64_t>(int64_t{s.prompt_size()} + s.request.max_tokens, context));
      s.most_tokens = wanted;
      s.at_most = s.request.max_tokens < 0 || int64_t{s.prompt_size()} + s.request.max_tokens > context
                      ? FinishReason::context
                      : FinishReason::length;
      if (instance.kv().free_pages() + kept.pages() < pages_of(wanted)) {  // those that run give theirs back
        MINKE_CHECK(!running.empty());
        return;
      }
      s.kv = kept.take(instance.kv(), s.request.prompt);
      s.cached = s.kv.length;
      while (!instance.kv().reserve(s.kv, wanted)) MINKE_CHECK(kept.drop_oldest(instance.kv()));
      s.started = Clock::now();
      running.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
  }

  // One forward pass: a token of every answer under way and drafts behind some, and prompt pieces up to the
  // rows that are left.
  void step() {
    tokens.clear();
    slices.clear();
    in_step.clear();
    int left = instance.state().limits.rows, drafts_left = most_draft;
    const auto add = [&](Sequence& s) {
      const int count = std::min(s.unfed(), left);
      s.draft.clear();
      if (count == 0) return;
      const bool whole = count == s.unfed();
      if (s.answer_size() > 0) s.draft = draft_for(s, std::min(drafts_left, left - count));
      const int drafted = static_cast<int>(s.draft.size());
      slices.push_back({&s.kv, static_cast<int>(tokens.size()), count + drafted, s.kv.length,
                        drafted > 0 ? Want::all_logits
                        : whole     ? Want::last_logits
                                    : Want::nothing});
      tokens.insert(tokens.end(), s.tokens.begin() + s.kv.length, s.tokens.begin() + s.kv.length + count);
      tokens.insert(tokens.end(), s.draft.begin(), s.draft.end());
      in_step.push_back(&s);
      left -= count + drafted;
      drafts_left -= drafted;
    };
    for (auto& s : running)
      if (s->answer_size() > 0) add(*s);
    for (auto& s : running)
      if (s->answer_size() == 0) add(*s);
    try {
      instance.forward({tokens, slices, {}});
    } catch (const Error& e) {
      fail_step(e.what());
      return;
    }
    int row = 0;
    std::vector<Sequence*> ended;
    for (size_t i = 0; i < in_step.size(); ++i) {
      if (slices[i].want == Want::nothing) continue;
      float* logits = instance.state().logits + int64_t{row} * model.config.vocab;
      row += 1 + static_cast<int>(in_step[i]->draft.size());
      bool last = true;
      try {
        last = accept_all(*in_step[i], logits);
      } catch (const Error& e) {  // of sampling: this request's alone
        finish(*in_step[i], FinishReason::failed, e.what());
      }
      if (last) ended.push_back(in_step[i]);
    }
    ++finished.steps;
    for (Sequence* s : ended) running.remove_if([&](const auto& r) { return r.get() == s; });
    publish();
  }

  void fail_step(const std::string& why) {
    for (Sequence* s : in_step) {
      finish(*s, FinishReason::failed, why);
      running.remove_if([&](const auto& r) { return r.get() == s; });
    }
  }

  // Tokens to try behind the one that an answer has not been fed yet; it and they have room in the pages.
  std::vector<Token> draft_for(Sequence& s, int most) const {
    most = std::min(most, s.most_tokens - static_cast<int>(s.tokens.size()));
    if (most <= 0 || s.unfed() != 1) return {};
    return look_up(s.tokens, s.draft_length.next(most));
  }

  // Samples after each row that plain decoding would have fed: as long as what comes out is what was drafted.
  // True when the sequence ended.
  bool accept_all(Sequence& s, float* logits) {
    const int fed = s.kv.length, drafted = static_cast<int>(s.draft.size());
    s.drafted += drafted;
    for (int i = 0;; ++i) {
      s.kv.length = fed - drafted + i;  // what follows in the cache is to be written anew
      if (accept(s, logits + int64_t{i} * model.config.vocab)) return true;
      if (i == drafted || s.tokens.back() != s.draft[static_cast<size_t>(i)]) {
        s.draft_length.learn(drafted, i);
        return false;
      }
      ++s.accepted;
    }
  }

  // Samples the next token of a sequence and hands it on. True when the sequence ended.
  bool accept(Sequence& s, float* logits) {
    if (s.answer_size() == 0) s.answered = Clock::now();
    const std::span<float> all(logits, static_cast<size_t>(model.config.vocab));
    for (const Token t : unused) all[static_cast<size_t>(t)] = -std::numeric_limits<float>::infinity();
    const Sampling& sampling = s.request.sampling;
    std::vector<float> raw;
    if (sampling.logprobs >= 0) raw.assign(all.begin(), all.end());
    TokenMask* const mask = s.request.mask.get();
    if (mask) mask->mask(all, s.most_tokens - static_cast<int>(s.tokens.size()));
    const auto list = candidates(sampling, s.said(), all);
    // The draw depends on seed and position alone.
    const Token token = draw(list, Random(sampling.seed, static_cast<uint64_t>(s.answer_size())).uniform());
    s.tokens.push_back(token);
    if (mask) mask->take(token);

    Output out{token, {}, {}, {}};
    if (sampling.logprobs >= 0) out.logprobs = logprobs(raw, token, sampling.logprobs);
    const bool stopped = std::ranges::count(s.request.stop_tokens, token) > 0;
    const bool ended = stopped || (!s.request.ignore_end && std::ranges::count(ends, token) > 0);
    if (!ended) {
      ShownText shown = s.text.push(token);
      out.text = std::move(shown.text);
      out.added = std::move(shown.added);
    }
    if (s.request.output) s.request.output(out);
    if (ended || !s.text.stopped().empty()) return finish(s, FinishReason::stop), true;
    if (static_cast<int>(s.tokens.size()) >= s.most_tokens) return finish(s, s.at_most), true;
    return false;
  }

  void finish(Sequence& s, FinishReason reason, std::string error = {}) {
    Finish f;
    f.reason = reason;
    f.stop = s.text.stopped();
    if (f.stop.empty()) {
      ShownText rest = s.text.finish();
      f.text = std::move(rest.text);
      f.added = std::move(rest.added);
      f.stop = s.text.stopped();
    }
    f.error = std::move(error);
    f.prompt_tokens = s.prompt_size();
    f.cached_tokens = s.cached;
    f.output_tokens = s.answer_size();
    f.drafted_tokens = s.drafted;
    f.accepted_tokens = s.accepted;
    const auto now = Clock::now();
    const bool started = s.started != Clock::time_point{}, answered = s.answered != Clock::time_point{};
    f.wait_seconds = seconds(s.submitted, started ? s.started : now);
    if (started) f.prefill_seconds = seconds(s.started, answered ? s.answered : now);
    if (answered) f.decode_seconds = seconds(s.answered, now);
    if (reason == FinishReason::failed) {
      s.kv.length = std::min(s.kv.length, static_cast<int>(s.kv.pages.size()) * kPageTokens);
      instance.kv().truncate(s.kv, 0);  // rows written in a step that failed are not to be trusted
    } else if (!s.kv.pages.empty()) {
      s.tokens.resize(static_cast<size_t>(s.kv.length));
      instance.kv().truncate(s.kv, s.kv.length);
      kept.keep(instance.kv(), std::move(s.tokens), std::move(s.kv));
    }
    finished.prompt_tokens += f.prompt_tokens;
    finished.cached_tokens += f.cached_tokens;
    finished.output_tokens += f.output_tokens;
    finished.accepted_tokens += f.accepted_tokens;
    s.ended = true;
    publish();  // first: who hears of the end finds it in the stats
    if (s.request.finish) s.request.finish(f);
  }

  void publish() {
    std::lock_guard lock(mutex);
    const auto open = [](const auto& list) {
      return static_cast<int>(std::ranges::count_if(list, [](const auto& s) { return !s->ended; }));
    };
    counts.running = open(running);
    counts.waiting = open(waiting) + static_cast<int>(inbox.size());
    counts.pages = instance.kv().pages();
    counts.free_pages = instance.kv().free_pages() + kept.pages();
    counts.steps = finished.steps;
    counts.prompt_tokens = finished.prompt_tokens;
    counts.cached_tokens = finished.cached_tokens;
    counts.output_tokens = finished.output_tokens;
    counts.accepted_tokens = finished.accepted_tokens;
  }

  const Model& model;
  const Tokenizer& tokenizer;
  Instance instance;
  Kept kept;
  std::vector<Token> ends, unused;
  int context, most_draft;
  std::list<std::unique_ptr<Sequence>> running, waiting;
  EngineStats finished;
  std::vector<Token> tokens;  // of the step
  std::vector<SequenceSlice> slices;
  std::vector<Sequence*> in_step;

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::unique_ptr<Sequence>> inbox;  // under mutex, as all below
  std::vector<uint64_t> cancelled;
  bool ending = false;
  uint64_t last_id = 0;
  EngineStats counts;
  std::thread thread;  // last: everything it uses is there when it starts
};

Engine::Engine(const Model& model, const Tokenizer& tokenizer, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, tokenizer, options)) {}

Engine::~Engine() = default;

uint64_t Engine::submit(Request request) { return impl_->submit(std::move(request)); }
void Engine::cancel(uint64_t id) { impl_->cancel(id); }
const std::vector<Token>& Engine::end_tokens() const { return impl_->ends; }
int Engine::context() const { return impl_->context; }

EngineStats Engine::stats() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

}  // namespace minke
