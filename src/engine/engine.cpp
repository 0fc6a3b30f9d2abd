#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "engine/budget.h"
#include "engine/identity.h"
#include "engine/mtp.h"
#include "engine/sequence.h"
#include "kv/prefix.h"

namespace minke {
namespace {

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

int pages_of(int tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

constexpr int kLeastShare = 64;  // rows of a prompt, where several share a step

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
  o.limits.mtp = draft > 0 && draft_by != DraftBy::lookup;
  return o;
}

struct Engine::Impl {
  Impl(const Model& m, const Tokenizer& t, const EngineOptions& o)
      : model(m),
        tokenizer(t),
        instance(m, o.for_instance()),
        identity(o.disk ? cache_identity(m, o.for_instance()) : std::string()),
        prefix(instance.kv(), open_disk(o), identity),
        mtp(instance, unused),
        context(o.instance.limits.context),
        most_draft(o.draft),
        lookup(o.draft_by != DraftBy::mtp),
        has_mtp(instance.config().mtp_layers > 0) {
    if (o.draft > 0 && o.draft_by == DraftBy::mtp && !has_mtp)
      throw Error(model.config.mtp_announced > 0 ? "the model's MTP layer is not in its files"
                                                 : "the model has no MTP layer",
                  model.path.string(), "lookup drafts for every model");
    if (has_mtp) cost = draft_cost(m);
    ends = tokenizer.end_tokens();
    ends.insert(ends.end(), model.config.eos.begin(), model.config.eos.end());
    for (Token id = 0; id < model.config.vocab; ++id)
      if (id >= tokenizer.size() || tokenizer.is_unused(id)) unused.push_back(id);
    publish();
    thread = std::thread([this] { run(); });
  }

  DiskPages* open_disk(const EngineOptions& o) {
    if (!o.disk) return nullptr;
    return &disk.emplace(*o.disk, first_key(identity), instance.kv().bytes_of_page());
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

  // Starts waiting requests in order while there are places, and pages for what is known of them.
  void admit() {
    KvPool& pool = instance.kv();
    while (!waiting.empty() && static_cast<int>(running.size()) < instance.state().limits.sequences) {
      Sequence& s = *waiting.front();
      const int most = s.request.pooling ? 0 : s.request.max_tokens;
      const bool bounded = most >= 0 && int64_t{s.prompt_size()} + most <= context;
      s.most_tokens = bounded ? s.prompt_size() + most : context;
      s.at_most = bounded ? FinishReason::length : FinishReason::context;
      // A page is left to each that runs: it would soon take it back.
      const int wanted = pages_of(static_cast<int>(s.tokens.size())),
                spare = static_cast<int>(running.size());
      if (pool.free_pages() + prefix.pages() < wanted + spare) return;
      s.kv = prefix.take(s.cacheable(), s.request.cache_salt);
      // The MTP layer's last row depends on the token behind it, which is another one now: it is made anew,
      // in a page of its own.
      bool anew = has_mtp && s.kv.length > 0;
      int more = wanted - static_cast<int>(s.kv.pages.size()) + anew;
      if (pool.free_pages() + prefix.evictable() < more + spare) {
        pool.truncate(s.kv, 0);
        if (!running.empty()) return;  // those give theirs back
        anew = false;                  // alone it fits, without what is cached
        more = wanted;
      }
      MINKE_CHECK(prefix.make_room(more));
      if (anew) {
        pool.own(s.kv, s.kv.length - 1);
        pool.truncate(s.kv, s.kv.length - 1);
      }
      s.kv.mtp_length = s.kv.length;
      MINKE_CHECK(pool.reserve(s.kv, static_cast<int>(s.tokens.size())));
      if (s.started == Clock::time_point{}) {
        s.cached = s.kv.length;
        s.started = Clock::now();
        if (s.request.start) s.request.start(s.cached);
      }
      s.shared_pages = 0;
      running.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
  }

  // Pages for what each that runs is fed in this step; where they are short, those that started last wait
  // until there are enough again.
  void reserve_pages() {
    for (auto it = running.begin(); it != running.end(); ++it) {
      Sequence& s = **it;
      for (;;) {
        const int fed = s.kv.length + std::min(s.unfed(), instance.state().limits.rows) +
                        static_cast<int>(s.draft.size());
        const int upto = std::min(s.most_tokens, fed + (has_mtp ? most_draft : 0));  // it drafts behind them
        const int more = pages_of(upto) - static_cast<int>(s.kv.pages.size());
        if (prefix.make_room(std::max(more, 0)) && instance.kv().reserve(s.kv, upto)) break;
        if (!s.draft.empty()) {
          s.draft.clear();
          continue;
        }
        const bool itself = std::next(it) == running.end();
        put_off(*running.back());
        waiting.push_front(std::move(running.back()));
        running.pop_back();
        if (itself) return;
      }
    }
  }

  // Its rows go to those that wait to be used again, or to be thrown out.
  void put_off(Sequence& s) {
    MINKE_CHECK(running.size() > 1, "one sequence always fits");
    s.draft.clear();
    instance.kv().truncate(s.kv, s.kv.length);
    const auto fed = std::span(s.tokens).first(static_cast<size_t>(s.kv.length));
    prefix.give(fed, std::exchange(s.kv, {}), s.request.cache_salt);
    ++finished.preempted;
  }

  // What was computed is there for others at once, and goes to disk.
  void share_pages() {
    for (Sequence* s : in_step) {
      if (s->ended || s->kv.length / kPageTokens <= s->shared_pages) continue;
      s->shared_pages = s->kv.length / kPageTokens;
      prefix.keep(std::span(s->tokens).first(static_cast<size_t>(s->kv.length)), s->kv,
                  s->request.cache_salt);
    }
    prefix.spill();
  }

  // One forward pass: a token of every answer under way and drafts behind some, and prompt pieces up to the
  // rows that are left.
  void forward() {
    tokens.clear();
    slices.clear();
    in_step.clear();
    reserve_pages();
    int left = instance.state().limits.rows;
    const auto add = [&](Sequence& s, int most) {
      const int count = std::min({s.unfed(), left, most});
      if (count == 0) return;
      const bool whole = count == s.unfed();
      const int drafted = static_cast<int>(s.draft.size());
      slices.push_back({&s.kv, static_cast<int>(tokens.size()), count + drafted, s.kv.length,
                        s.request.pooling ? Want::all_hidden
                        : drafted > 0     ? Want::all_logits
                        : whole           ? Want::last_logits
                                          : Want::nothing,
                        s.prompt_size()});
      tokens.insert(tokens.end(), s.tokens.begin() + s.kv.length, s.tokens.begin() + s.kv.length + count);
      tokens.insert(tokens.end(), s.draft.begin(), s.draft.end());
      in_step.push_back(&s);
      left -= count + drafted;
    };
    for (auto& s : running)
      if (s->answer_size() > 0 && s->unfed() == 1) add(*s, left);
    const auto answers = static_cast<int>(in_step.size()), rows = static_cast<int>(tokens.size());
    // Prompts share what is left; rows that come out as hidden states stand last.
    const int prompts = static_cast<int>(running.size()) - answers;
    left = std::min(left, budget.rows(answers, prompts, left));
    int to_feed = prompts;
    for (const bool pooling : {false, true})
      for (auto& s : running) {
        if (s->request.pooling.has_value() != pooling || (s->answer_size() > 0 && s->unfed() == 1)) continue;
        add(*s, std::max(kLeastShare, left / to_feed));
        --to_feed;
      }
    const auto start = Clock::now();
    instance.forward({tokens, slices, {}, has_mtp});
    budget.learn(answers, prompts, static_cast<int>(tokens.size()) - rows, seconds(start, Clock::now()));
  }

  void step() {
    try {
      forward();
      sample();
      draft();
    } catch (const Error& e) {
      for (Sequence* s : in_step)
        if (!s->ended && !s->end) finish(*s, FinishReason::failed, e.what());
    }
    share_pages();
    for (Sequence* s : in_step)
      if (!s->ended && s->end) finish(*s, *s->end);
    running.remove_if([](const auto& s) { return s->ended; });
    ++finished.steps;
    publish();
  }

  // Tokens from the rows of logits that came out.
  void sample() {
    int row = 0;
    for (size_t i = 0; i < in_step.size(); ++i) {
      if (slices[i].want == Want::nothing) continue;
      if (slices[i].want == Want::all_hidden) {
        pool(*in_step[i], slices[i], instance.state().output + int64_t{row} * model.config.dim,
             model.config.dim);
        row += slices[i].count;
        continue;
      }
      float* logits = instance.state().logits + int64_t{row} * model.config.vocab;
      row += 1 + static_cast<int>(in_step[i]->draft.size());
      try {
        accept_all(*in_step[i], logits);
      } catch (const Error& e) {  // of sampling: this request's alone
        finish(*in_step[i], FinishReason::failed, e.what());
      }
    }
  }

  static void pool(Sequence& s, const SequenceSlice& slice, const float* hidden, int dim) {
    for (int i = 0; i < slice.count; ++i) s.pooled.add(slice.position + i, hidden + int64_t{i} * dim, dim);
    if (s.unfed() == 0) s.end = FinishReason::stop;
  }

  // Drafts for the next step. Every answer has its row there, and the drafts have what is left.
  void draft() {
    const auto answers = static_cast<int>(std::ranges::count_if(
        running, [](const auto& s) { return s->answer_size() > 0 && !s->end && !s->ended; }));
    int left = std::min(most_draft, instance.state().limits.rows - answers);
    just_fed.clear();
    for (size_t i = 0; i < in_step.size(); ++i) {
      Sequence& s = *in_step[i];
      if (s.ended) continue;
      Fed f{&s, slices[i].first, slices[i].position, 0};
      s.draft.clear();
      if (s.answer_size() > 0 && !s.end) {
        // The last token of an answer comes out of the row before it: none is drafted for its place.
        const int most = std::min(left, s.most_tokens - static_cast<int>(s.tokens.size()) - 1);
        if (lookup && most > 0) s.draft = look_up(s.tokens, s.lookup_length.next(most));
        s.draft_by_mtp = has_mtp && s.draft.empty() && MtpDrafter::follows(s, f.position);
        if (s.draft_by_mtp) f.draft = s.mtp_length.next(most, cost, answers);
        left -= f.draft + static_cast<int>(s.draft.size());
      }
      just_fed.push_back(f);
    }
    if (has_mtp) mtp.follow(just_fed);
  }

  // Samples after each row that plain decoding would have fed: as long as what comes out is what was drafted.
  void accept_all(Sequence& s, float* logits) {
    const int fed = s.kv.length, drafted = static_cast<int>(s.draft.size());
    s.drafted += drafted;
    for (int i = 0;; ++i) {
      s.kv.length = fed - drafted + i;  // what follows in the cache is to be written anew
      accept(s, logits + int64_t{i} * model.config.vocab);
      const bool right = i < drafted && s.tokens.back() == s.draft[static_cast<size_t>(i)];
      s.accepted += right;
      if (s.end) return;
      if (right) continue;
      if (s.draft_by_mtp)
        s.mtp_length.learn(drafted, i);
      else
        s.lookup_length.learn(drafted, i);
      return;
    }
  }

  // Samples the next token of a sequence and hands it on.
  void accept(Sequence& s, float* logits) {
    if (s.answer_size() == 0) s.answered = Clock::now();
    const std::span<float> all(logits, static_cast<size_t>(model.config.vocab));
    for (const Token t : unused) all[static_cast<size_t>(t)] = -std::numeric_limits<float>::infinity();
    const Sampling& sampling = s.request.sampling;
    std::vector<float> raw;
    if (sampling.logprobs >= 0) raw.assign(all.begin(), all.end());
    TokenMask* const mask = s.request.mask.get();
    if (mask) mask->mask(all, s.most_tokens - static_cast<int>(s.tokens.size()));
    const Token token = pick(sampling, s.said(), all);
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
    if (ended || !s.text.stopped().empty())
      s.end = FinishReason::stop;
    else if (static_cast<int>(s.tokens.size()) >= s.most_tokens)
      s.end = s.at_most;
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
    if (s.request.pooling && reason == FinishReason::stop) f.pooled = s.pooled.vector();
    if (reason == FinishReason::failed) {
      s.kv.length = std::min(s.kv.length, static_cast<int>(s.kv.pages.size()) * kPageTokens);
      instance.kv().truncate(s.kv, 0);  // rows written in a step that failed are not to be trusted
    } else if (!s.kv.pages.empty()) {
      s.tokens.resize(static_cast<size_t>(s.kv.length));
      instance.kv().truncate(s.kv, s.kv.length);
      prefix.give(s.tokens, std::exchange(s.kv, {}), s.request.cache_salt);
      prefix.spill();
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
    counts.free_pages = instance.kv().free_pages() + prefix.evictable();
    counts.steps = finished.steps;
    counts.prompt_tokens = finished.prompt_tokens;
    counts.cached_tokens = finished.cached_tokens;
    counts.output_tokens = finished.output_tokens;
    counts.accepted_tokens = finished.accepted_tokens;
    counts.preempted = finished.preempted;
  }

  const Model& model;
  const Tokenizer& tokenizer;
  Instance instance;
  std::string identity;
  std::optional<DiskPages> disk;
  PrefixTree prefix;
  PrefillBudget budget;
  std::vector<Token> ends, unused;
  MtpDrafter mtp;
  int context, most_draft;
  bool lookup, has_mtp;
  DraftCost cost;
  std::list<std::unique_ptr<Sequence>> running, waiting;
  EngineStats finished;
  std::vector<Token> tokens;  // of the step
  std::vector<SequenceSlice> slices;
  std::vector<Sequence*> in_step;
  std::vector<Fed> just_fed;

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
int Engine::vocab() const { return impl_->model.config.vocab; }
int Engine::context() const { return impl_->context; }

EngineStats Engine::stats() const {
  EngineStats stats;
  {
    std::lock_guard lock(impl_->mutex);
    stats = impl_->counts;
  }
  if (impl_->disk) stats.disk = impl_->disk->stats();  // pages are written behind the last step as well
  return stats;
}

}  // namespace minke
