#include "serve/answering.h"

#include <chrono>
#include <mutex>

#include <fmt/format.h>

#include "serve/state.h"
#include "serve/visit.h"

namespace minke {
namespace {

using Clock = std::chrono::steady_clock;

class Answering {
 public:
  Answering(std::shared_ptr<Visit> visit, std::shared_ptr<Place> place, std::unique_ptr<AnswerWriter> writer,
            bool stream, std::function<void(const AnswerWriter&)> done)
      : visit_(std::move(visit)),
        place_(std::move(place)),
        writer_(std::move(writer)),
        stream_(stream),
        done_(std::move(done)) {}

  // Headers and what goes before the first event; the first call counts.
  void open() {
    if (!stream_) return;
    std::call_once(opened_, [&] {
      visit_->start_events();
      visit_->write(writer_->begin());
    });
  }

  void on_event(const CompletionEvent& event) {
    open();
    measure(event);
    const bool last =
        event.kind == CompletionEvent::Kind::done || event.kind == CompletionEvent::Kind::failed;
    if (last) {
      place_.reset();
      count(event);
    }
    std::string text;
    try {
      text = writer_->event(event);
      if (event.kind == CompletionEvent::Kind::done && done_) done_(*writer_);
    } catch (const std::exception& e) {  // of storing above all: the client is told
      failed_ = true;
      text =
          writer_->event({.kind = CompletionEvent::Kind::failed, .fault = {Fault::Kind::internal, e.what()}});
    }
    if (stream_)
      visit_->write(text);
    else if (event.kind == CompletionEvent::Kind::failed)
      visit_->send(event.fault);
    else if (last && !failed_)
      visit_->send(writer_->whole());
    else if (last)
      visit_->send(Fault{Fault::Kind::internal, "the answer could not be kept"});
    if (stream_ && last) visit_->finish();
  }

 private:
  void measure(const CompletionEvent& event) {
    if (event.kind == CompletionEvent::Kind::end) reason_ = event.reason;
    if (event.kind != CompletionEvent::Kind::part) return;
    const auto now = Clock::now();
    if (first_ == Clock::time_point{})
      first_ = now;
    else
      visit_->state().metrics.between_tokens(std::chrono::duration<double>(now - latest_).count());
    latest_ = now;
  }

  void count(const CompletionEvent& event) {
    const auto since = [&](Clock::time_point t) {
      return std::chrono::duration<double>(t - visit_->begun()).count();
    };
    Ended ended;
    if (event.kind == CompletionEvent::Kind::failed)
      ended.reason = "error";
    else if (reason_ != EndReason::stop)
      ended.reason = reason_ == EndReason::length  ? "length"
                     : reason_ == EndReason::calls ? "tool_calls"
                                                   : "abort";
    ended.usage = event.usage;
    if (first_ != Clock::time_point{}) ended.first_token_seconds = since(first_);
    ended.all_seconds = since(Clock::now());
    visit_->state().metrics.ended(ended);
    visit_->note(event.kind == CompletionEvent::Kind::failed
                     ? "error: " + event.fault.message
                     : fmt::format("{} prompt={} cached={} output={}", ended.reason,
                                   ended.usage.prompt_tokens, ended.usage.cached_tokens,
                                   ended.usage.output_tokens));
  }

  const std::shared_ptr<Visit> visit_;
  std::shared_ptr<Place> place_;
  const std::unique_ptr<AnswerWriter> writer_;
  const bool stream_;
  const std::function<void(const AnswerWriter&)> done_;
  std::once_flag opened_;
  bool failed_ = false;
  EndReason reason_ = EndReason::stop;
  Clock::time_point first_{}, latest_{};
};

}  // namespace

Place::Place(std::shared_ptr<ServeState> state, std::optional<ApiKey> key)
    : state_(std::move(state)), key_(std::move(key)) {}
Place::~Place() { state_->give_place(key_); }

std::shared_ptr<Place> Place::take(Visit& visit) {
  if (const auto fault = visit.state().take_place(visit.key())) {
    visit.send(*fault);
    return nullptr;
  }
  return std::shared_ptr<Place>(new Place(visit.shared_state(), visit.key()));
}

std::shared_ptr<Completer> completer_for(Visit& visit) {
  auto completer = visit.state().completer();
  if (!completer) visit.send(Fault{Fault::Kind::unavailable, "the model is still loading"});
  return completer;
}

bool model_fits(Visit& visit, const Completer& completer, const std::string& model) {
  const ModelCard& card = completer.card();
  if (model.empty() || card.answers_to(model)) return true;
  visit.send(Fault{Fault::Kind::not_found,
                   fmt::format("there is no model '{}' here, but '{}'; --alias gives it further names",
                               model.substr(0, 200), card.name),
                   "model", "model_not_found"});
  return false;
}

void answer(const std::shared_ptr<Visit>& visit, Exchange exchange,
            std::function<void(const AnswerWriter&)> done) {
  const auto completer = completer_for(*visit);
  if (!completer || !model_fits(*visit, *completer, exchange.model)) return;
  auto place = Place::take(*visit);
  if (!place) return;
  auto answering = std::make_shared<Answering>(visit, std::move(place), std::move(exchange.writer),
                                               exchange.stream, std::move(done));
  const uint64_t id = completer->submit(
      exchange.request, [answering](const CompletionEvent& event) { answering->on_event(event); });
  answering->open();
  visit->reply().on_gone([completer, id] { completer->cancel(id); });
}

}  // namespace minke
