#include "serve/state.h"

namespace minke {

std::optional<Fault> ServeState::take_place(const std::optional<ApiKey>& key) {
  const std::lock_guard lock(mutex_);
  if (places_ >= options.parallel + options.queue)
    return Fault{
        Fault::Kind::busy, "too many requests are waiting: try again later", {}, "rate_limit_exceeded"};
  if (key && key->parallel > 0) {
    int& own = places_of_[key->name];
    if (own >= key->parallel)
      return Fault{Fault::Kind::busy,
                   fmt::format("this key may have {} requests under way at once", key->parallel),
                   {},
                   "rate_limit_exceeded"};
    ++own;
  }
  ++places_;
  return std::nullopt;
}

void ServeState::give_place(const std::optional<ApiKey>& key) {
  const std::lock_guard lock(mutex_);
  --places_;
  if (key && key->parallel > 0 && --places_of_[key->name] == 0) places_of_.erase(key->name);
}

void ServeState::set_completer(std::shared_ptr<Completer> completer, std::function<EngineStats()> stats) {
  const std::lock_guard lock(mutex_);
  completer_ = std::move(completer);
  stats_ = std::move(stats);
}

std::shared_ptr<Completer> ServeState::completer() const {
  const std::lock_guard lock(mutex_);
  return completer_;
}

std::optional<EngineStats> ServeState::engine_stats() const {
  std::function<EngineStats()> stats;
  {
    const std::lock_guard lock(mutex_);
    stats = stats_;
  }
  return stats ? std::optional(stats()) : std::nullopt;
}

}  // namespace minke
