#include "api/completion.h"

#include <algorithm>

namespace minke {

Sampling SamplingWishes::over(Sampling advised) const {
  Sampling s = std::move(advised);
  s.temperature = temperature.value_or(s.temperature);
  s.top_p = top_p.value_or(s.top_p);
  s.min_p = min_p.value_or(s.min_p);
  s.typical_p = typical_p.value_or(s.typical_p);
  s.repetition_penalty = repetition_penalty.value_or(s.repetition_penalty);
  s.presence_penalty = presence_penalty.value_or(s.presence_penalty);
  s.frequency_penalty = frequency_penalty.value_or(s.frequency_penalty);
  s.top_k = top_k.value_or(s.top_k);
  s.logit_bias = logit_bias;
  s.logprobs = logprobs;
  return s;
}

bool ModelCard::answers_to(const std::string& asked) const {
  return asked == name ||
         std::ranges::any_of(aliases, [&](const std::string& a) { return a == asked || a == "*"; });
}

}  // namespace minke
