#pragma once
// One request that the engine answers, all its choices, from tokens to events.

#include <functional>
#include <mutex>
#include <vector>

#include "api/completion.h"
#include "engine/engine.h"

namespace minke {

class Running : public std::enable_shared_from_this<Running> {
 public:
  Running(Engine& engine, const Tokenizer& tokenizer, const CompletionRequest& request,
          Completer::OnEvent on_event);

  // Submits a choice; all of them are added before their results are waited for. Throws what submit throws.
  void add(int choice, const AnswerFormat& format, AnswerOptions answer, bool plain, bool first_of_prompt,
           Request request);
  void cancel();
  void give_up();  // cancels, and no event comes any more

  std::function<void()> when_over;  // called behind the last event

 private:
  struct Choice {
    AnswerParser parser;
    bool plain;                           // a text without a chat format: it is all content
    bool first_of_prompt;                 // its prompt counts in the usage
    uint64_t id = 0;                      // the engine's
    bool complete = false;                // a first call is there, and no more are wanted
    std::vector<TokenLogprob> logprobs;   // not handed on yet
    std::optional<TokenLogprob> unclear;  // of a token without text, which may be an end token
    bool ended = false;
  };

  void on_output(size_t at, const Output& output);
  void on_finish(size_t at, const Finish& finish);
  void hand_on(size_t at, std::vector<AnswerEvent> parts, bool last);
  std::vector<AnswerEvent> parse(Choice& choice, const std::string& text, std::span<const TextRun> added,
                                 bool last);
  TokenLogprob logprob_of(const Output& output) const;
  void send(CompletionEvent event);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  const size_t wanted_;  // choices
  const bool parallel_calls_;
  const bool with_logprobs_;
  const Completer::OnEvent on_event_;

  std::mutex mutex_;  // of all below
  std::vector<std::unique_ptr<Choice>> choices_;
  size_t ended_ = 0;
  Usage usage_;
  bool cancelled_ = false, silent_ = false;
};

}  // namespace minke
