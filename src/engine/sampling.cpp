#include "engine/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/random.h"
#include "kernels/isas.h"
#include "kernels/kernels.h"

namespace minke {
namespace {

// Sorting everything costs milliseconds with large vocabularies: as much is sorted as turns out to be needed.
constexpr size_t kSortedFirst = 64;
constexpr float kNever = -std::numeric_limits<float>::infinity();

void penalise(const Sampling& s, const Said& said, std::span<float> logits) {
  const auto known = [&](Token t) { return t >= 0 && static_cast<size_t>(t) < logits.size(); };
  if (s.repetition_penalty != 1) {
    std::unordered_set<Token> seen(said.prompt.begin(), said.prompt.end());
    seen.insert(said.answer.begin(), said.answer.end());
    for (const Token t : seen) {
      if (!known(t)) continue;
      float& logit = logits[static_cast<size_t>(t)];
      logit = logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
    }
  }
  if (s.presence_penalty != 0 || s.frequency_penalty != 0) {
    std::unordered_map<Token, int> counts;
    for (const Token t : said.answer) ++counts[t];
    for (const auto& [t, n] : counts)
      if (known(t))
        logits[static_cast<size_t>(t)] -= s.presence_penalty + s.frequency_penalty * static_cast<float>(n);
  }
  for (const auto& [t, bias] : s.logit_bias)
    if (known(t)) logits[static_cast<size_t>(t)] += bias;
}

// Every table gives the same bits.
const Kernels& kernels() {
  static const Kernels& widest = kernels_for(usable_isas().back());
  return widest;
}

struct Peak {
  float value = kNever;
  size_t at = 0;
};

// The first of the largest logits. Sixteen at a time, which compilers make vectors of: with a vocabulary of
// 150,000 and a branch for each, it took a tenth of a step of eight answers.
Peak peak_of(std::span<const float> logits) {
  constexpr size_t kLanes = 16, kRun = 1024;
  Peak peak;
  for (size_t begin = 0; begin < logits.size(); begin += kRun) {
    const std::span<const float> run = logits.subspan(begin, std::min(kRun, logits.size() - begin));
    std::array<float, kLanes> top;
    std::array<int, kLanes> bad{};
    top.fill(kNever);
    const auto see = [&](size_t lane, float l) {
      top[lane] = l > top[lane] ? l : top[lane];
      bad[lane] |= !(l < -kNever);
    };
    size_t i = 0;
    for (; i + kLanes <= run.size(); i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane) see(lane, run[i + lane]);
    for (; i < run.size(); ++i) see(0, run[i]);
    if (std::ranges::any_of(bad, [](int b) { return b != 0; }))
      throw Error("the model gave numbers that are not finite", "logits", "are its weights damaged?");
    const float largest = *std::ranges::max_element(top);
    if (largest > peak.value)
      peak = {largest, begin + static_cast<size_t>(std::ranges::find(run, largest) - run.begin())};
  }
  return peak;
}

bool likelier(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}

void normalise(std::vector<Candidate>& list) {
  double total = 0;
  for (const Candidate& c : list) total += c.probability;
  for (Candidate& c : list) c.probability = static_cast<float>(c.probability / total);
}

// Sorts the first n of the list into place, likeliest first.
void settle(std::vector<Candidate>& list, size_t n) {
  n = std::min(n, list.size());
  std::partial_sort(list.begin(), list.begin() + static_cast<int64_t>(n), list.end(), likelier);
}

void keep_top_p(std::vector<Candidate>& list, float p) {
  for (size_t n = kSortedFirst;; n *= 8) {
    settle(list, n);
    double sum = 0;
    for (size_t i = 0; i < std::min(n, list.size()); ++i) {
      sum += list[i].probability;
      if (sum >= p) return list.resize(i + 1);
    }
    if (n >= list.size()) return;  // rounding kept the sum below p
  }
}

void keep_typical(std::vector<Candidate>& list, float p) {
  double entropy = 0;
  for (const Candidate& c : list)
    if (c.probability > 0) entropy -= c.probability * std::log(double{c.probability});
  const auto distance = [&](const Candidate& c) {
    return std::abs(-std::log(double{c.probability}) - entropy);
  };
  std::sort(list.begin(), list.end(), [&](const Candidate& a, const Candidate& b) {
    const double x = distance(a), y = distance(b);
    return x != y ? x < y : likelier(a, b);
  });
  double sum = 0;
  size_t n = 0;
  while (n < list.size() && sum < p) sum += list[n++].probability;
  list.resize(std::max<size_t>(n, 1));
}

// What the settings leave, in any order; candidates() says what.
std::vector<Candidate> remaining(const Sampling& s, const Said& said, std::span<float> logits) {
  penalise(s, said, logits);
  const Peak peak = peak_of(logits);
  if (peak.value == kNever) throw Error("every token is excluded", "logits");
  if (s.temperature == 0) return {{static_cast<Token>(peak.at), 1.0f}};
  // A temperature near 0 must leave 0 * cold a number.
  const float cold = std::min(1 / s.temperature, 1e30f);
  std::vector<Candidate> list;
  list.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kNever) continue;
    const float moved = (logits[i] - peak.value) * cold;
    logits[list.size()] = moved;
    list.push_back({static_cast<Token>(i), 0});
  }
  kernels().softmax(logits.data(), static_cast<int>(list.size()));
  for (size_t i = 0; i < list.size(); ++i) list[i].probability = logits[i];
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < list.size()) {
    settle(list, static_cast<size_t>(s.top_k));
    list.resize(static_cast<size_t>(s.top_k));
    normalise(list);
  }
  if (s.top_p < 1) {
    keep_top_p(list, s.top_p);
    normalise(list);
  }
  if (s.min_p > 0) {
    float most = 0;
    for (const Candidate& c : list) most = std::max(most, c.probability);
    std::erase_if(list, [&](const Candidate& c) { return c.probability < s.min_p * most; });
    normalise(list);
  }
  if (s.typical_p < 1) {
    keep_typical(list, s.typical_p);
    normalise(list);
  }
  return list;
}

// The token that u falls to among the list's first, none where it falls behind them.
std::optional<Token> fall(std::span<const Candidate> list, double u) {
  double sum = 0;
  for (const Candidate& c : list) {
    sum += c.probability;
    if (u < sum) return c.token;
  }
  return std::nullopt;
}

}  // namespace

void validate(const Sampling& s, int vocab) {
  const auto check = [](bool ok, const char* setting, float value, const char* range) {
    if (!ok) throw Error(fmt::format("{} is out of range: {}", value, range), setting);
  };
  check(s.temperature >= 0 && s.temperature <= 100, "temperature", s.temperature, "0 to 100");
  check(s.top_k >= 0, "top_k", static_cast<float>(s.top_k), "0 or more");
  check(s.top_p > 0 && s.top_p <= 1, "top_p", s.top_p, "above 0, up to 1");
  check(s.min_p >= 0 && s.min_p <= 1, "min_p", s.min_p, "0 to 1");
  check(s.typical_p > 0 && s.typical_p <= 1, "typical_p", s.typical_p, "above 0, up to 1");
  check(s.repetition_penalty > 0 && s.repetition_penalty <= 100, "repetition_penalty", s.repetition_penalty,
        "above 0, up to 100");
  check(std::abs(s.presence_penalty) <= 100, "presence_penalty", s.presence_penalty, "-100 to 100");
  check(std::abs(s.frequency_penalty) <= 100, "frequency_penalty", s.frequency_penalty, "-100 to 100");
  check(s.logprobs >= -1 && s.logprobs <= 1000, "logprobs", static_cast<float>(s.logprobs), "up to 1000");
  for (const auto& [t, bias] : s.logit_bias) {
    if (t < 0 || t >= vocab)
      throw Error(fmt::format("token {} is outside the vocabulary of {}", t, vocab), "logit_bias");
    check(std::abs(bias) <= 1000, "logit_bias", bias, "-1000 to 1000");
  }
}

std::vector<Candidate> candidates(const Sampling& s, const Said& said, std::span<float> logits) {
  std::vector<Candidate> list = remaining(s, said, logits);
  std::sort(list.begin(), list.end(), likelier);
  return list;
}

Token draw(std::span<const Candidate> list, double u) {
  return fall(list, u).value_or(list.back().token);  // rounding kept the sum below u
}

Token pick(const Sampling& s, const Said& said, std::span<float> logits) {
  std::vector<Candidate> list = remaining(s, said, logits);
  const double u = Random(s.seed, said.answer.size()).uniform();
  for (size_t n = kSortedFirst; n < list.size(); n *= 8) {
    settle(list, n);
    if (const auto token = fall(std::span(list).first(n), u)) return *token;
  }
  std::sort(list.begin(), list.end(), likelier);
  return draw(list, u);
}

Logprobs logprobs(std::span<const float> logits, Token token, int count) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float l : logits) total += std::exp(double{l} - peak);
  const double base = peak + std::log(total);
  Logprobs result;
  result.own = static_cast<float>(logits[static_cast<size_t>(token)] - base);
  std::vector<Token> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Token>(i);
  const auto n =
      static_cast<int64_t>(std::min<size_t>(static_cast<size_t>(std::max(count, 0)), order.size()));
  std::partial_sort(order.begin(), order.begin() + n, order.end(), [&](Token a, Token b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (int64_t i = 0; i < n; ++i) {
    const Token t = order[static_cast<size_t>(i)];
    result.top.emplace_back(t, static_cast<float>(logits[static_cast<size_t>(t)] - base));
  }
  return result;
}

}  // namespace minke
