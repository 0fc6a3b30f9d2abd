#include "engine/stop_text.h"

#include <algorithm>
#include <utility>

namespace minke {

std::string StopText::push(std::string_view text) {
  if (!stopped_.empty()) return {};
  held_ += text;
  // The stop string that is complete first, whatever parts the text comes in; of those that end at one place
  // the one that starts first.
  size_t first = std::string::npos, end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (at + stop.size() < end || (at + stop.size() == end && at < first)) {
      first = at;
      end = at + stop.size();
      stopped_ = stop;
    }
  }
  if (first != std::string::npos) {
    held_.resize(first);
    return std::exchange(held_, {});
  }
  size_t keep = 0;  // the longest end of the text that begins a stop string
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) keep = n;
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopText::finish() { return std::exchange(held_, {}); }

}  // namespace minke
