#include "engine/draft.h"

#include <algorithm>

namespace minke {
namespace {

constexpr int kLongestMatch = 16;  // longer ones tell no more
constexpr int kLongestPause = 64;

}  // namespace

std::vector<Token> look_up(std::span<const Token> tokens, int most) {
  if (most <= 0) return {};
  const auto n = static_cast<int64_t>(tokens.size());
  int64_t best = 0, best_length = kLeastMatch - 1;
  for (int64_t end = n - 1; end >= kLeastMatch && best_length < kLongestMatch; --end) {
    int64_t length = 0;  // tokens before `end` that are those before n
    while (length < std::min<int64_t>(end, kLongestMatch) &&
           tokens[static_cast<size_t>(end - 1 - length)] == tokens[static_cast<size_t>(n - 1 - length)])
      ++length;
    if (length > best_length) {
      best = end;
      best_length = length;
    }
  }
  if (best == 0) return {};
  const std::span<const Token> followed = tokens.subspan(static_cast<size_t>(best));
  const auto taken = followed.first(std::min(followed.size(), static_cast<size_t>(most)));
  return {taken.begin(), taken.end()};
}

int DraftLength::next(int most) {
  if (pause_ > 0) {
    --pause_;
    return 0;
  }
  return std::min(length_, most);
}

void DraftLength::learn(int drafted, int accepted) {
  if (drafted == 0) return;
  if (accepted == 0) {
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kLongestPause);
    length_ = std::max(2, length_ / 2);
    return;
  }
  next_pause_ = 1;
  length_ = accepted == drafted ? 2 * length_ : std::max(2, accepted + 1);
  length_ = std::min(length_, 64);
}

}  // namespace minke
