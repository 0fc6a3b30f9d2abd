#include "api/embedding.h"

#include <cmath>

namespace minke {
namespace {

constexpr size_t kAtOnce = 4;  // a long list leaves room for others

void normalise(std::vector<float>& vector) {
  double sum = 0;
  for (const float x : vector) sum += double{x} * double{x};
  if (sum == 0) return;
  const double scale = 1 / std::sqrt(sum);
  for (float& x : vector) x = static_cast<float>(x * scale);
}

}  // namespace

void Embedding::start() {
  std::unique_lock lock(mutex_);
  go_on(lock);
}

void Embedding::cancel() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  for (const uint64_t id : under_way_) engine_.cancel(id);
}

void Embedding::submit_next() {
  const size_t at = next_++;
  Request request = std::move(texts_[at]);
  request.finish = [self = shared_from_this(), at](const Finish& finish) { self->on_finish(at, finish); };
  try {
    under_way_.push_back(engine_.submit(std::move(request)));
    ++open_;
  } catch (const Error& e) {
    give_up(invalid(e));
  }
}

void Embedding::give_up(Fault fault) {
  given_up_ = true;
  made_.cancelled = true;
  if (made_.fault.message.empty()) made_.fault = std::move(fault);
}

void Embedding::on_finish(size_t at, const Finish& finish) {
  std::unique_lock lock(mutex_);
  --open_;
  made_.prompt_tokens += finish.prompt_tokens;
  if (finish.reason == FinishReason::stop) {
    made_.vectors[at] = finish.pooled;
    normalise(made_.vectors[at]);
  } else {
    give_up({Fault::Kind::internal, finish.error});
  }
  go_on(lock);
}

void Embedding::go_on(std::unique_lock<std::mutex>& lock) {
  while (!given_up_ && next_ < texts_.size() && open_ < kAtOnce) submit_next();
  if (open_ > 0) return;
  lock.unlock();
  on_done_(made_);
  if (when_over) when_over();
}

}  // namespace minke
