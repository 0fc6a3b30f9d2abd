#pragma once
// Counters and histograms in Prometheus's text format (version 0.0.4), named as vLLM names its own.

#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/completion.h"
#include "engine/engine.h"

namespace minke {

class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}
  void add(double value);
  void print(std::string& out, std::string_view name, std::string_view help, std::string_view model) const;

 private:
  std::span<const double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

// Of one request that has ended.
struct Ended {
  const char* reason = "stop";  // "stop", "length", "tool_calls", "abort", "error"
  Usage usage;
  double first_token_seconds = -1, all_seconds = 0;  // -1: there was none
};

class Metrics {
 public:
  Metrics();
  void responded(const std::string& route, int status);
  void ended(const Ended& ended);
  void between_tokens(double seconds);
  std::string text(const std::string& model, const std::optional<EngineStats>& stats) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> responses_;
  std::map<std::string, uint64_t> reasons_;
  Histogram first_token_, between_tokens_, all_, prompt_tokens_, output_tokens_;
};

}  // namespace minke
