#pragma once
// How far one model's predictions are from another's: what rounding weights did to it, say.

#include <functional>
#include <span>

#include "engine/perplexity.h"

namespace minke {

// Kullback-Leibler divergences KL(A || B) = sum over tokens of p_A ln(p_A / p_B), in nats, one for each
// predicted token of a text.
struct Divergence {
  double mean = 0, error = 0;               // error: standard error of the mean
  double median = 0, p99 = 0, most = 0;     // p99: what 99 of 100 do not exceed
  double same_top = 0, same_top_error = 0;  // share of places where both think the same token likeliest
  Perplexity a, b;
};

// Reads the text with both as perplexity() reads it, step by step, holding the logits of a few rows of each.
// The models must have one vocabulary (check_same_vocabulary). Throws Error: a text of less than two tokens,
// a model whose logits are not finite.
Divergence divergence(Instance& a, Instance& b, std::span<const Token> tokens, int window, Token start,
                      const std::function<void(int64_t, int64_t)>& progress = {});

// One row: KL(A || B) of logits [vocab] each, not negative, and exactly 0 for equal ones.
double divergence(std::span<const float> a, std::span<const float> b);

// Throws Error naming the models' files where their tokens differ, or their logits are of different width.
void check_same_vocabulary(const Model& a, const Tokenizer& of_a, const Model& b, const Tokenizer& of_b);

}  // namespace minke
