#include "serve/metrics.h"

#include <algorithm>

#include <fmt/format.h>

namespace minke {
namespace {

constexpr double kSeconds[] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1,   2.5,
                               5,     7.5,   10,   20,    40,   80,    160, 320,  640, 1280, 2560};
constexpr double kBetween[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                               0.3,   0.4,  0.5,   0.75, 1,     2.5, 5,    10};
constexpr double kTokens[] = {1,   2,    5,    10,   20,    50,    100,   200,
                              500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP minke:{} {}\n# TYPE minke:{} {}\n", name, help, name, type);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

// vLLM calls what outlives the process external.
template <typename F>
void print_disk(const DiskStats& disk, F number) {
  const auto of = [](int64_t n) { return static_cast<double>(n); };
  number("external_prefix_cache_hits_total", "counter", "Tokens of prompts that came from disk.",
         of(disk.read * kPageTokens));
  number("disk_cache_bytes", "gauge", "Bytes of cached pages on disk.", of(disk.bytes));
  number("disk_cache_pages", "gauge", "Cached pages on disk.", of(disk.pages));
  number("disk_cache_pages_written_total", "counter", "Pages written to disk.", of(disk.written));
  number("disk_cache_pages_read_total", "counter", "Pages read from disk.", of(disk.read));
  number("disk_cache_pages_evicted_total", "counter", "Pages that made room for others on disk.",
         of(disk.evicted));
  number("disk_cache_pages_discarded_total", "counter", "Pages found damaged on disk.", of(disk.discarded));
  number("disk_cache_pages_failed_total", "counter", "Pages that could not be written.", of(disk.failed));
}

}  // namespace

void Histogram::add(double value) {
  ++counts_[static_cast<size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin())];
  sum_ += value;
}

void Histogram::print(std::string& out, std::string_view name, std::string_view help,
                      std::string_view model) const {
  head(out, name, "histogram", help);
  uint64_t so_far = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    so_far += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    out += fmt::format("minke:{}_bucket{{model_name=\"{}\",le=\"{}\"}} {}\n", name, model, bound, so_far);
  }
  out += fmt::format("minke:{}_sum{{model_name=\"{}\"}} {}\n", name, model, sum_);
  out += fmt::format("minke:{}_count{{model_name=\"{}\"}} {}\n", name, model, so_far);
}

Metrics::Metrics()
    : first_token_(kSeconds),
      between_tokens_(kBetween),
      all_(kSeconds),
      prompt_tokens_(kTokens),
      output_tokens_(kTokens) {}

void Metrics::responded(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

void Metrics::ended(const Ended& e) {
  const std::lock_guard lock(mutex_);
  ++reasons_[e.reason];
  if (e.first_token_seconds >= 0) first_token_.add(e.first_token_seconds);
  all_.add(e.all_seconds);
  prompt_tokens_.add(e.usage.prompt_tokens);
  output_tokens_.add(e.usage.output_tokens);
}

void Metrics::between_tokens(double seconds) {
  const std::lock_guard lock(mutex_);
  between_tokens_.add(seconds);
}

std::string Metrics::text(const std::string& model_name, const std::optional<EngineStats>& stats) const {
  const std::string model = escaped(model_name);
  std::string out;
  const auto number = [&](std::string_view name, std::string_view type, std::string_view help, double value) {
    head(out, name, type, help);
    out += fmt::format("minke:{}{{model_name=\"{}\"}} {}\n", name, model, value);
  };
  if (stats) {
    const auto of = [](auto n) { return static_cast<double>(n); };
    number("num_requests_running", "gauge", "Answers under way.", of(stats->running));
    number("num_requests_waiting", "gauge", "Answers not begun yet.", of(stats->waiting));
    number("kv_cache_usage_perc", "gauge",
           "Share of the cache's pages that answers under way hold; 1 is all.",
           stats->pages > 0 ? 1 - of(stats->free_pages) / of(stats->pages) : 0);
    number("prompt_tokens_total", "counter", "Tokens of prompts.", of(stats->prompt_tokens));
    number("generation_tokens_total", "counter", "Tokens of answers.", of(stats->output_tokens));
    number("prefix_cache_queries_total", "counter", "Tokens of prompts that were looked up in the cache.",
           of(stats->prompt_tokens));
    number("prefix_cache_hits_total", "counter", "Tokens of prompts that were found there.",
           of(stats->cached_tokens));
    number("spec_decode_num_accepted_tokens_total", "counter", "Drafted tokens that were right.",
           of(stats->accepted_tokens));
    number("num_preemptions_total", "counter", "Times that an answer gave its pages up for others.",
           of(stats->preempted));
    print_disk(stats->disk, number);
    number("engine_steps_total", "counter", "Forward passes.", of(stats->steps));
  }
  const std::lock_guard lock(mutex_);
  head(out, "request_success_total", "counter", "Requests that ended, by how.");
  for (const auto& [reason, count] : reasons_)
    out += fmt::format("minke:request_success_total{{model_name=\"{}\",finished_reason=\"{}\"}} {}\n", model,
                       reason, count);
  first_token_.print(out, "time_to_first_token_seconds", "From the request to its first token.", model);
  between_tokens_.print(out, "inter_token_latency_seconds", "Between two parts of an answer.", model);
  all_.print(out, "e2e_request_latency_seconds", "From the request to the end of its answer.", model);
  prompt_tokens_.print(out, "request_prompt_tokens", "Tokens of a request's prompts.", model);
  output_tokens_.print(out, "request_generation_tokens", "Tokens of a request's answers.", model);
  head(out, "http_requests_total", "counter", "HTTP responses.");
  for (const auto& [key, count] : responses_)
    out += fmt::format("minke:http_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", escaped(key.first),
                       key.second, count);
  return out;
}

}  // namespace minke
