#pragma once
// From logits to a token.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "text/token.h"

namespace minke {

// Each setting at its neutral value does nothing.
struct Sampling {
  float temperature = 0;  // 0: always the likeliest token
  int top_k = 0;          // keep the k likeliest; 0: all
  float top_p = 1;        // keep the smallest set of likeliest tokens whose probabilities reach this
  float min_p = 0;        // drop what is less likely than this times the likeliest
  float typical_p = 1;    // keep the tokens whose surprise is nearest the expected one, until they reach this
  float repetition_penalty = 1;  // logits of tokens in prompt or answer: / p if positive, * p otherwise
  float presence_penalty = 0;    // taken off logits of tokens in the answer
  float frequency_penalty = 0;   // ... times how often they are there
  std::vector<std::pair<Token, float>> logit_bias;  // added
  uint64_t seed = 0;
  int logprobs = -1;  // likeliest tokens to report with each token; -1: nothing, 0: the token's own
};

// Throws Error naming the setting that is out of range; vocab bounds the ids of logit_bias.
void validate(const Sampling& sampling, int vocab);

// What was said so far, as the penalties need it.
struct Said {
  std::span<const Token> prompt, answer;
};

struct Candidate {
  Token token;
  float probability;
};

// The tokens that may be drawn, likeliest first (equals: lower id first), their probabilities summing to 1.
// Filters in this order, each working on what those before left: penalties, logit_bias, temperature, top_k,
// top_p, min_p, typical_p. Logits of -inf never are candidates. temperature 0 leaves one candidate. Changes
// `logits`. Throws Error where one is NaN or +inf, or none is above -inf.
std::vector<Candidate> candidates(const Sampling& sampling, const Said& said, std::span<float> logits);

// The candidate that u in [0, 1) falls to.
Token draw(std::span<const Candidate> candidates, double u);

// The token that follows what was said. The draw depends on the seed and the answer's length alone. Changes
// `logits`; throws as candidates() does.
Token pick(const Sampling& sampling, const Said& said, std::span<float> logits);

// Natural-log probabilities of raw logits: the token's own, and the `count` likeliest, likeliest first.
struct Logprobs {
  float own = 0;
  std::vector<std::pair<Token, float>> top;
};
Logprobs logprobs(std::span<const float> logits, Token token, int count);

}  // namespace minke
