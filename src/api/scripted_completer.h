#pragma once
// For tests: a completer that gives written answers, or none until it is told to.

#include <map>
#include <mutex>
#include <thread>

#include "api/completion.h"
#include "base/error.h"

namespace minke {

class ScriptedCompleter final : public Completer {
 public:
  // What each choice says; then it ends so.
  std::vector<std::vector<AnswerEvent>> parts = {
      {{AnswerEvent::Kind::content, 0, "Hel"}, {AnswerEvent::Kind::content, 0, "lo"}}};
  EndReason reason = EndReason::stop;
  std::string stop, malformed_call;
  Fault fault;           // with a message: that happens after the parts instead
  bool waiting = false;  // nothing happens until a request is cancelled
  std::vector<TokenLogprob> logprobs;

  const ModelCard& card() const override { return card_; }

  uint64_t submit(const CompletionRequest& request, OnEvent on_event) override {
    const std::lock_guard lock(mutex_);
    if (request.max_tokens == 4242) throw Error("is too much for the script", "max_tokens");
    requests_.push_back(request);
    const uint64_t id = requests_.size();
    if (waiting)
      open_[id] = std::move(on_event);
    else
      play(request, on_event);
    return id;
  }

  uint64_t embed(const EmbeddingRequest& request, OnEmbedded on_done) override {
    Embeddings made;
    for (size_t i = 0; i < request.inputs.size(); ++i) made.vectors.push_back({0.6f, -0.8f});
    made.prompt_tokens = 7;
    made.fault = fault;
    made.cancelled = !fault.message.empty();
    on_done(made);
    return 0;
  }

  void cancel(uint64_t id) override {
    const std::lock_guard lock(mutex_);
    const auto it = open_.find(id);
    if (it == open_.end()) return;
    it->second({.kind = CompletionEvent::Kind::end, .reason = EndReason::cancelled});
    it->second({.kind = CompletionEvent::Kind::done});
    open_.erase(it);
    ++cancelled_;
  }

  std::vector<Token> tokens(const CompletionRequest&) const override { return {1, 2, 3}; }
  std::string rendered(const ChatPrompt& chat) const override {
    return "rendered " + to_string(chat.messages);
  }
  std::string text(std::span<const Token> tokens) const override { return std::to_string(tokens.size()); }

  CompletionRequest last() const {
    const std::lock_guard lock(mutex_);
    return requests_.empty() ? CompletionRequest{} : requests_.back();
  }
  size_t submitted() const {
    const std::lock_guard lock(mutex_);
    return requests_.size();
  }
  int cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  void play(const CompletionRequest& request, const OnEvent& on_event) const {
    on_event({.kind = CompletionEvent::Kind::start, .usage = {10, 4}});
    for (int choice = 0; choice < request.choices(); ++choice) {
      for (const AnswerEvent& part : parts[static_cast<size_t>(choice) % parts.size()])
        on_event(
            {.kind = CompletionEvent::Kind::part, .choice = choice, .parts = {part}, .logprobs = logprobs});
      if (fault.message.empty())
        on_event({.kind = CompletionEvent::Kind::end,
                  .choice = choice,
                  .reason = reason,
                  .stop = stop,
                  .malformed_call = malformed_call});
    }
    if (!fault.message.empty()) return on_event({.kind = CompletionEvent::Kind::failed, .fault = fault});
    on_event({.kind = CompletionEvent::Kind::done, .usage = {10, 4, 5, 2}});
  }

  const ModelCard card_{"scripted", {"other"}, 1700000000, 512, 2};
  mutable std::mutex mutex_;
  std::vector<CompletionRequest> requests_;
  std::map<uint64_t, OnEvent> open_;
  int cancelled_ = 0;
};

}  // namespace minke
