#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "engine/windows.h"

namespace minke {

void Mean::add(double value) {
  const double off = value - mean_;
  mean_ += off / static_cast<double>(++count_);
  squares_ += off * (value - mean_);
}

double Mean::error() const {
  const auto n = static_cast<double>(count_);
  return count_ > 1 ? std::sqrt(squares_ / (n * (n - 1))) : 0;
}

double Perplexity::value() const { return std::exp(nll); }

double negative_log_likelihood(std::span<const float> logits, Token token) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float l : logits) total += std::exp(l - peak);
  return std::log(total) + peak - logits[static_cast<size_t>(token)];
}

Perplexity perplexity(Instance& instance, std::span<const Token> tokens, int window, Token start,
                      const std::function<void(int64_t, int64_t)>& progress) {
  MINKE_CHECK(window >= 2);
  const auto vocab = static_cast<size_t>(instance.config().vocab);
  const int given = start >= 0 ? 2 : 1;  // tokens of a window that are not predicted
  Instance* const instances[] = {&instance};
  Mean nll;
  std::vector<double> losses;
  for_each_window(tokens, window, start, [&](std::span<const Token> piece, int64_t done) {
    const int n = static_cast<int>(piece.size());
    if (n <= given) return;
    losses.resize(piece.size());  // of each token, by its place
    run_window(instances, piece, [&](int first, int count, std::span<const float* const> logits) {
      instance.context().pool.for_each(count, 1, [&](int64_t i, int64_t, int) {
        const auto next = static_cast<size_t>(first + i + 1);
        if (next < piece.size())
          losses[next] =
              negative_log_likelihood({logits[0] + static_cast<size_t>(i) * vocab, vocab}, piece[next]);
      });
    });
    for (int i = given; i < n; ++i) nll.add(losses[static_cast<size_t>(i)]);
    if (progress) progress(done, static_cast<int64_t>(tokens.size()));
  });
  if (nll.count() == 0) throw Error("the text is shorter than two tokens");
  return Perplexity(nll);
}

}  // namespace minke
