#include "cli/sampling_flags.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include <CLI/CLI.hpp>

#include "base/error.h"

namespace minke {
namespace {

template <typename T>
T number(const std::string& text, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(fmt::format("'{}' is not a number", text), what);
  return value;
}

}  // namespace

void SamplingFlags::add(CLI::App& command) {
  const auto group = "Sampling";
  command.add_option("--temperature", temperature, "0: always the likeliest token")->group(group);
  command.add_option("--top-k", top_k, "Keep the K likeliest tokens (0: all)")->group(group);
  command.add_option("--top-p", top_p, "Keep the likeliest tokens up to this probability")->group(group);
  command.add_option("--min-p", min_p, "Drop tokens less likely than this share of the likeliest")
      ->group(group);
  command.add_option("--typical-p", typical_p, "Keep typical tokens up to this probability")->group(group);
  command.add_option("--repetition-penalty", repetition_penalty, "Above 1: tokens already seen get rarer")
      ->group(group);
  command.add_option("--presence-penalty", presence_penalty, "Taken off tokens already in the answer")
      ->group(group);
  command.add_option("--frequency-penalty", frequency_penalty, "... for each time they are there")
      ->group(group);
  command.add_option("--logit-bias", logit_bias, "Added to a token's logit (repeatable)")
      ->type_name("ID=BIAS")
      ->group(group);
  command.add_option("--seed", seed, "Same seed, same answer")->group(group);
  command
      .add_option("-n,--max-tokens", max_tokens,
                  "Most tokens of an answer (default: until the context is full)")
      ->check(CLI::Range(1, 1 << 28))
      ->group(group);
  command.add_option("--stop", stop, "End the answer at this text (repeatable)")->group(group);
  command.add_option("--stop-token", stop_tokens, "End the answer at this token id (repeatable)")
      ->group(group);
  command.add_flag("--ignore-end", ignore_end, "Go on after the model's end token")->group(group);
}

void SamplingFlags::check() const {
  try {
    validate(request({}).sampling, std::numeric_limits<int>::max());
  } catch (const Error& e) {
    if (e.subject().starts_with("--")) throw;
    std::string flag = "--" + e.subject();
    std::replace(flag.begin(), flag.end(), '_', '-');
    throw Error(e.happened(), flag, e.help());
  }
}

Request SamplingFlags::request(const Sampling& advised) const {
  Request r;
  Sampling& s = r.sampling = advised;
  s.temperature = temperature.value_or(s.temperature);
  s.top_k = top_k.value_or(s.top_k);
  s.top_p = top_p.value_or(s.top_p);
  s.min_p = min_p.value_or(s.min_p);
  s.typical_p = typical_p.value_or(s.typical_p);
  s.repetition_penalty = repetition_penalty.value_or(s.repetition_penalty);
  s.presence_penalty = presence_penalty.value_or(s.presence_penalty);
  s.frequency_penalty = frequency_penalty.value_or(s.frequency_penalty);
  s.seed = seed.value_or(0);
  s.logprobs = logprobs;
  for (const std::string& entry : logit_bias) {
    const size_t at = entry.find('=');
    if (at == std::string::npos) throw Error(fmt::format("'{}' is not ID=BIAS", entry), "--logit-bias");
    s.logit_bias.emplace_back(number<Token>(entry.substr(0, at), "--logit-bias"),
                              number<float>(entry.substr(at + 1), "--logit-bias"));
  }
  r.max_tokens = max_tokens;
  r.stop = stop;
  r.stop_tokens.assign(stop_tokens.begin(), stop_tokens.end());
  r.ignore_end = ignore_end;
  return r;
}

void set_sampling(SamplingFlags& flags, const std::string& setting, const std::string& value) {
  SamplingFlags changed = flags;
  const std::pair<const char*, std::optional<float> SamplingFlags::*> floats[] = {
      {"temperature", &SamplingFlags::temperature},
      {"top_p", &SamplingFlags::top_p},
      {"min_p", &SamplingFlags::min_p},
      {"typical_p", &SamplingFlags::typical_p},
      {"repetition_penalty", &SamplingFlags::repetition_penalty},
      {"presence_penalty", &SamplingFlags::presence_penalty},
      {"frequency_penalty", &SamplingFlags::frequency_penalty}};
  bool known = false;
  for (const auto& [name, member] : floats) {
    if (setting != name) continue;
    changed.*member = number<float>(value, name);
    known = true;
  }
  if (setting == "top_k")
    changed.top_k = number<int>(value, "top_k");
  else if (setting == "seed")
    changed.seed = number<uint64_t>(value, "seed");
  else if (setting == "max_tokens")
    changed.max_tokens = number<int>(value, "max_tokens");
  else if (setting == "stop")
    changed.stop = {value};
  else if (!known)
    throw Error(fmt::format("unknown setting '{}'", setting), "/set",
                "temperature, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty, "
                "frequency_penalty, seed, "
                "max_tokens, stop");
  validate(changed.request({}).sampling, 1 << 30);
  flags = changed;
}

}  // namespace minke
