#pragma once
// Flags for how answers are drawn.

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace CLI {
class App;
}

namespace minke {

struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> logit_bias;  // ID=BIAS
  std::vector<std::string> stop;
  std::vector<int> stop_tokens;
  int logprobs = -1;  // of run
  int max_tokens = -1;
  bool ignore_end = false;

  void add(CLI::App& command);
  void check() const;  // throws Error naming the flag that is out of range
  // The advised settings with the flags over them; a request without its prompt.
  Request request(const Sampling& advised) const;
};

// "temperature 0.6" for /set: throws Error naming what is unknown or out of range.
void set_sampling(SamplingFlags& flags, const std::string& setting, const std::string& value);

}  // namespace minke
