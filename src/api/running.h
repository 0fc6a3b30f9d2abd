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

  // How a choice's tokens are read.
  struct Reading {
    AnswerFormat format;
    AnswerOptions answer;
    bool plain = false;            // a text without a chat format: it is all content
    bool first_of_prompt = false;  // its prompt counts in the usage
    // Gets the whole answer, and its tokens but for the one that ended it. May be null.
    std::function<void(const ParsedAnswer&, std::vector<Token>)> keep = {};
  };
  // Submits a choice; all of them are added before their results are waited for. Throws what submit throws.
  void add(int choice, Reading reading, Request request);
  void cancel();
  void give_up();  // cancels, and no event comes any more

  std::function<void()> when_over;  // called behind the last event

 private:
  struct Choice {
    explicit Choice(Reading r) : reading(std::move(r)), parser(reading.format, reading.answer) {}

    Reading reading;
    AnswerParser parser;
    std::vector<Token> tokens = {};       // where they are kept
    uint64_t id = 0;                      // the engine's
    bool complete = false;                // a first call is there, and no more are wanted
    std::vector<TokenLogprob> logprobs;   // not handed on yet
    std::optional<TokenLogprob> unclear;  // of a token without text, which may be an end token
    bool ended = false;
  };

  void on_output(size_t at, const Output& output);
  void on_finish(size_t at, const Finish& finish);
  void keep(Choice& choice, const Finish& finish) const;
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
