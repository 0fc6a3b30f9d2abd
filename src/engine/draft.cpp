#include "engine/draft.h"

#include <algorithm>
#include <cmath>

#include "model/weights.h"

namespace minke {
namespace {

constexpr int kLongestMatch = 16;  // longer ones tell no more
constexpr int kLongestPause = 64;
// The arithmetic of each further row, in steps: 0.12 to 0.24 were measured, as memory was slow or fast
// (bench/draft_bench.cpp, with VNNI).
constexpr double kRowWork = 0.17;
constexpr double kForget = 0.9;  // what an earlier draft counts beside the next

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

int LookupLength::next(int most) {
  if (pause_ > 0) {
    --pause_;
    return 0;
  }
  return std::min(length_, most);
}

void LookupLength::learn(int drafted, int accepted) {
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

DraftCost draft_cost(const Model& model) {
  const Config& c = model.config;
  double shared = 0, experts = 0, mtp = 0;  // bytes that a row reads
  Weights weights = model.weights;          // views only
  for_each_weight(c, weights, [&](const WeightSlot& slot, const Mat& m) {
    const auto bytes = static_cast<double>(m.bytes());
    if (slot.role == Role::head) mtp += bytes;
    if (slot.role == Role::embed || (slot.expert >= 0 && slot.expert >= c.moe->router.active)) return;
    (slot.layer >= c.layers ? mtp : slot.expert >= 0 ? experts : shared) += bytes;
  });
  if (c.tied) {
    shared += static_cast<double>(weights.head.bytes());
    mtp += static_cast<double>(weights.head.bytes());
  }
  DraftCost cost{experts / (shared + experts), 1, mtp / (shared + experts)};
  if (c.moe) cost.chosen = static_cast<double>(c.moe->router.active) / c.moe->router.experts;
  return cost;
}

double DraftCost::step(int rows) const {
  if (rows == 1) return 1;
  const double different = (1 - std::pow(1 - chosen, rows)) / chosen;  // experts, to those of one row
  return (1 - experts) + experts * different + kRowWork * (rows - 1);
}

int MtpLength::next(int most, const DraftCost& cost, int sequences) {
  if (most <= 0) return 0;
  if (pause_ > 0) {
    --pause_;
    return 0;
  }
  // Tokens of a step over its cost, all sequences drafting alike; for the plain step it is 1.
  const double plain = cost.step(sequences);
  double expected = 1, chance = 1, best = 1;
  int length = 0;
  for (int i = 0; i < std::min(most, kDeepest); ++i) {
    const Rate& r = rates_[static_cast<size_t>(i)];
    chance *= r.right / r.tried;
    expected += chance;
    const double rate = expected / (cost.step(sequences * (i + 2)) / plain + (i + 1) * cost.pass);
    if (rate <= best) continue;
    best = rate;
    length = i + 1;
  }
  if (length > 0) {
    next_pause_ = 1;
    return length;
  }
  pause_ = next_pause_;
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
  return 1;
}

void MtpLength::learn(int drafted, int accepted) {
  if (drafted == 0) return;
  failures_ = accepted > 0 ? 0 : failures_ + 1;
  for (int i = 0; i < std::min({drafted, accepted + 1, kDeepest}); ++i) {
    Rate& r = rates_[static_cast<size_t>(i)];
    r.tried = kForget * r.tried + 1;
    r.right = kForget * r.right + (i < accepted ? 1 : 0);
  }
}

}  // namespace minke
