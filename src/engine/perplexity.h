#pragma once
// How well a model predicts a text.

#include <functional>
#include <span>

#include "model/instance.h"
#include "text/token.h"

namespace minke {

// Of values that come one by one.
class Mean {
 public:
  void add(double value);
  int64_t count() const { return count_; }
  double value() const { return mean_; }
  double error() const;  // standard error of the mean; 0 for fewer than two

 private:
  int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;  // squares_: of the distances from the mean, summed
};

struct Perplexity {
  double nll = 0;         // mean -ln probability of the tokens that were predicted
  double error = 0;       // standard error of that mean
  int64_t predicted = 0;  // tokens
  Perplexity() = default;
  explicit Perplexity(const Mean& of) : nll(of.value()), error(of.error()), predicted(of.count()) {}
  double value() const;  // exp(nll)
};

// Cuts tokens into windows of `window` tokens, each read from an empty context (after `start`, where >= 0),
// and predicts every token of a window but its first. A last window of a single token is left out.
// progress(done, all) after each window.
Perplexity perplexity(Instance& instance, std::span<const Token> tokens, int window, Token start,
                      const std::function<void(int64_t, int64_t)>& progress = {});

// -ln of the softmax probability of `token` under logits [vocab].
double negative_log_likelihood(std::span<const float> logits, Token token);

}  // namespace minke
