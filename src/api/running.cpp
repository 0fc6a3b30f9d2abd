#include "api/running.h"

#include <utility>

namespace minke {

Running::Running(Engine& engine, const Tokenizer& tokenizer, const CompletionRequest& request,
                 Completer::OnEvent on_event)
    : engine_(engine),
      tokenizer_(tokenizer),
      wanted_(static_cast<size_t>(request.choices())),
      parallel_calls_(request.parallel_calls),
      with_logprobs_(request.sampling.logprobs >= 0),
      on_event_(std::move(on_event)) {}

// The engine's callbacks wait for the mutex, so that they find the choice with its id.
void Running::add(int choice, Reading reading, Request request) {
  const auto at = static_cast<size_t>(choice);
  if (choice == 0)
    request.start = [self = shared_from_this(),
                     tokens = static_cast<int>(request.prompt.size())](int cached) {
      const std::lock_guard lock(self->mutex_);
      self->send({.kind = CompletionEvent::Kind::start, .usage = {tokens, cached}});
    };
  request.output = [self = shared_from_this(), at](const Output& output) { self->on_output(at, output); };
  request.finish = [self = shared_from_this(), at](const Finish& finish) { self->on_finish(at, finish); };
  const std::lock_guard lock(mutex_);
  choices_.push_back(std::make_unique<Choice>(std::move(reading)));
  choices_.back()->id = engine_.submit(std::move(request));
  if (cancelled_) engine_.cancel(choices_.back()->id);
}

void Running::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (const auto& choice : choices_)
    if (!choice->ended) engine_.cancel(choice->id);
}

void Running::give_up() {
  {
    const std::lock_guard lock(mutex_);
    silent_ = true;
  }
  cancel();
}

TokenLogprob Running::logprob_of(const Output& output) const {
  const auto bytes = [&](Token t) { return std::string(tokenizer_.bytes(t)); };
  TokenLogprob made{bytes(output.token), output.logprobs.own, {}};
  for (const auto& [token, logprob] : output.logprobs.top) made.top.emplace_back(bytes(token), logprob);
  return made;
}

std::vector<AnswerEvent> Running::parse(Choice& choice, const std::string& text,
                                        std::span<const TextRun> added, bool last) {
  std::vector<AnswerEvent> parts;
  if (choice.reading.plain) {
    if (!text.empty()) parts.push_back({AnswerEvent::Kind::content, 0, text});
    return parts;
  }
  if (!text.empty()) parts = choice.parser.feed(text, added);
  if (last)
    for (AnswerEvent& event : choice.parser.finish()) parts.push_back(std::move(event));
  return parts;
}

// Log-probabilities wait for text that can be shown. An end token is none of the answer: whether a token
// without text was one is known by what follows.
void Running::hand_on(size_t at, std::vector<AnswerEvent> parts, bool last) {
  Choice& choice = *choices_[at];
  if (parts.empty() && (!last || choice.logprobs.empty())) return;
  CompletionEvent event{CompletionEvent::Kind::part, static_cast<int>(at)};
  event.parts = std::move(parts);
  event.logprobs = std::exchange(choice.logprobs, {});
  send(std::move(event));
}

void Running::on_output(size_t at, const Output& output) {
  const std::lock_guard lock(mutex_);
  Choice& choice = *choices_[at];
  if (choice.complete) return;
  if (choice.reading.keep) choice.tokens.push_back(output.token);
  const bool reasons = choice.parser.in_reasoning();
  std::vector<AnswerEvent> parts = parse(choice, output.text, output.added, false);
  usage_.reasoning_tokens += reasons || choice.parser.in_reasoning();
  if (!parallel_calls_)
    for (size_t i = 0; i < parts.size(); ++i)
      if (parts[i].kind == AnswerEvent::Kind::call_end) {
        parts.resize(i + 1);
        choice.complete = true;
        engine_.cancel(choice.id);
        break;
      }
  if (with_logprobs_) {
    if (choice.unclear) choice.logprobs.push_back(*std::exchange(choice.unclear, {}));
    if (output.text.empty())
      choice.unclear = logprob_of(output);
    else
      choice.logprobs.push_back(logprob_of(output));
  }
  hand_on(at, std::move(parts), false);
}

// With a stop string there is more in the tokens than in the answer.
void Running::keep(Choice& choice, const Finish& finish) const {
  if (!choice.reading.keep || !finish.stop.empty()) return;
  if (finish.reason == FinishReason::stop && !choice.complete && !choice.tokens.empty())
    choice.tokens.pop_back();
  choice.reading.keep(choice.parser.answer(), std::move(choice.tokens));
}

void Running::on_finish(size_t at, const Finish& finish) {
  std::unique_lock lock(mutex_);
  Choice& choice = *choices_[at];
  choice.ended = true;
  ++ended_;
  if (choice.reading.first_of_prompt) {
    usage_.prompt_tokens += finish.prompt_tokens;
    usage_.cached_tokens += finish.cached_tokens;
  }
  usage_.output_tokens += finish.output_tokens;
  if (finish.reason == FinishReason::failed && !silent_) {
    CompletionEvent event{CompletionEvent::Kind::failed, static_cast<int>(at)};
    event.fault = {Fault::Kind::internal, finish.error};
    send(std::move(event));
    silent_ = true;
    for (const auto& other : choices_)
      if (!other->ended) engine_.cancel(other->id);
  } else if (!silent_) {
    const bool at_end_token = finish.reason == FinishReason::stop && finish.stop.empty();
    if (choice.unclear && !at_end_token) choice.logprobs.push_back(*choice.unclear);
    if (!choice.complete) hand_on(at, parse(choice, finish.text, finish.added, true), true);
    keep(choice, finish);  // before the client can come back with it
    CompletionEvent event{CompletionEvent::Kind::end, static_cast<int>(at)};
    event.reason = finish.reason == FinishReason::stop        ? EndReason::stop
                   : finish.reason == FinishReason::cancelled ? EndReason::cancelled
                                                              : EndReason::length;
    const ParsedAnswer& answer = choice.parser.answer();
    if (!choice.reading.plain && !answer.calls.empty() &&
        (choice.complete || event.reason == EndReason::stop))
      event.reason = EndReason::calls;
    event.stop = finish.stop;
    event.malformed_call = answer.fault;
    send(std::move(event));
  }
  if (ended_ < wanted_) return;
  if (!silent_) {
    CompletionEvent event{CompletionEvent::Kind::done};
    event.usage = usage_;
    send(std::move(event));
  }
  lock.unlock();
  if (when_over) when_over();
}

void Running::send(CompletionEvent event) {
  if (!silent_) on_event_(event);
}

}  // namespace minke
