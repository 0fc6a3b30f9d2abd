#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace minke {
namespace {

// -ln probability of every token of a window but the first, in order.
std::vector<double> window_losses(Instance& instance, std::span<const Token> window) {
  State& state = instance.state();
  const Config& config = instance.config();
  const int rows = state.limits.rows, at_once = state.limits.logit_rows, n = static_cast<int>(window.size());
  KvView view;
  if (!instance.kv().reserve(view, n))
    throw Error(fmt::format("a window of {} tokens does not fit the context", n));
  std::vector<double> losses(static_cast<size_t>(n - 1));
  for (int at = 0; at < n; at += rows) {
    const int count = std::min(rows, n - at);
    const SequenceSlice slice{&view, 0, count, at, Want::all_hidden, n};
    instance.forward({window.subspan(static_cast<size_t>(at), static_cast<size_t>(count)), {&slice, 1}, {}});
    for (int first = 0; first < count; first += at_once) {
      const int some = std::min(at_once, count - first);
      head(instance.context(), instance.model().weights, state, state.output + int64_t{first} * config.dim,
           some, state.logits);
      instance.context().pool.for_each(some, 1, [&](int64_t i, int64_t, int) {
        const size_t next = static_cast<size_t>(at + first + i + 1);
        if (next >= window.size()) return;
        const std::span<const float> logits(state.logits + i * config.vocab,
                                            static_cast<size_t>(config.vocab));
        losses[next - 1] = negative_log_likelihood(logits, window[next]);
      });
    }
  }
  instance.kv().truncate(view, 0);
  return losses;
}

}  // namespace

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
  double sum = 0, squares = 0;
  Perplexity result;
  std::vector<Token> piece;
  for (size_t at = 0; at + 1 < tokens.size(); at += static_cast<size_t>(window)) {
    piece.clear();
    if (start >= 0) piece.push_back(start);
    const size_t end = std::min(tokens.size(), at + static_cast<size_t>(window));
    piece.insert(piece.end(), tokens.begin() + static_cast<int64_t>(at),
                 tokens.begin() + static_cast<int64_t>(end));
    const std::vector<double> losses = window_losses(instance, piece);
    for (size_t i = start >= 0 ? 1 : 0; i < losses.size(); ++i) {
      sum += losses[i];
      squares += losses[i] * losses[i];
      ++result.predicted;
    }
    if (progress) progress(static_cast<int64_t>(end), static_cast<int64_t>(tokens.size()));
  }
  if (result.predicted == 0) throw Error("the text is shorter than two tokens");
  const auto n = static_cast<double>(result.predicted);
  result.nll = sum / n;
  result.error = n > 1 ? std::sqrt(std::max(0.0, squares / n - result.nll * result.nll) / (n - 1)) : 0;
  return result;
}

}  // namespace minke
