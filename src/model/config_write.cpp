// What the configurations of all architectures say in the same words, written.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "model/architecture.h"

namespace minke {

void cannot_say(const Config& config, std::string what) {
  throw Error(std::move(what), fmt::format("a {} model", config.arch),
              "the other container has no words for it");
}

void write_common(const Config& c, Json& json) {
  json.set("vocab_size", c.vocab);
  json.set("hidden_size", c.dim);
  json.set("num_hidden_layers", c.layers);
  json.set("max_position_embeddings", c.context);
  json.set("rms_norm_eps", decimal(c.norm_eps));
  json.set("num_attention_heads", c.heads);
  json.set("hidden_act", "silu");
  json.set("tie_word_embeddings", c.tied);
  json.set("bos_token_id", c.bos ? Json(*c.bos) : Json());
  if (c.eos.size() == 1)
    json.set("eos_token_id", c.eos[0]);
  else
    json.set("eos_token_id", c.eos.empty() ? Json() : Json(JsonArray(c.eos.begin(), c.eos.end())));
  json.set("use_cache", true);
}

void write_common(const Config& c, GgufKeys& keys) {
  keys.count("vocab_size", c.vocab);
  keys.count("context_length", c.context);
  keys.count("embedding_length", c.dim);
  keys.count("block_count", c.layers + c.mtp_layers);
  keys.count("attention.head_count", c.heads);
  keys.number("attention.layer_norm_rms_epsilon", decimal(c.norm_eps));
  if (c.eos.size() > 1) keys.header().add(kEosIdsKey, std::span<const int32_t>(c.eos));
}

namespace {

void write_yarn(const Config& c, Json& json) {
  const RopeConfig& r = c.rope;
  json.set("beta_fast", r.beta_fast);
  json.set("beta_slow", r.beta_slow);
  if (r.mscale != 1 || r.mscale_all_dim != 0) {
    json.set("mscale", r.mscale);
    json.set("mscale_all_dim", r.mscale_all_dim);
  }
  if (r.attention_factor) json.set("attention_factor", *r.attention_factor);
}

}  // namespace

void write_rope(const Config& c, Json& json) {
  RopeConfig r = c.rope;
  if (r.scaling == RopeScaling::divisors) {
    const std::optional<RopeConfig> named = llama3_of_divisors(r);
    if (!named) cannot_say(c, "no llama3 scaling gives the frequencies of tensor 'rope_freqs.weight'");
    r = *named;
  }
  json.set("rope_theta", r.theta);
  if (r.scaling == RopeScaling::none) {
    json.set("rope_scaling", Json());
    return;
  }
  const char* type = r.scaling == RopeScaling::linear ? "linear"
                     : r.scaling == RopeScaling::yarn ? "yarn"
                                                      : "llama3";
  Json scaling = JsonObject{};
  scaling.set("type", type);
  scaling.set("rope_type", type);
  scaling.set("factor", r.factor);
  // An integer there, and numbers with a point elsewhere, is what other programs check for.
  scaling.set("original_max_position_embeddings", static_cast<int64_t>(r.original));
  if (r.scaling == RopeScaling::yarn) write_yarn(c, scaling);
  if (r.scaling == RopeScaling::llama3) {
    scaling.set("low_freq_factor", r.low_freq);
    scaling.set("high_freq_factor", r.high_freq);
  }
  json.set("rope_scaling", std::move(scaling));
}

namespace {

// GGUF knows one mscale for both places, and none but the usual one outside of latent attention.
void write_yarn(const Config& c, GgufKeys& keys) {
  const RopeConfig& r = c.rope;
  keys.number("rope.scaling.yarn_beta_fast", r.beta_fast);
  keys.number("rope.scaling.yarn_beta_slow", r.beta_slow);
  const bool usual = r.mscale == 1 && r.mscale_all_dim == 0;
  if (r.attention_factor && std::abs(*r.attention_factor - yarn_mscale(r.factor, 1)) > 1e-6)
    cannot_say(c, fmt::format("rope_scaling has an attention_factor of {}", *r.attention_factor));
  if (!usual && (!c.mla || r.mscale != r.mscale_all_dim))
    cannot_say(c, fmt::format("rope_scaling has an mscale of {} and an mscale_all_dim of {}", r.mscale,
                              r.mscale_all_dim));
  if (!usual) keys.number("rope.scaling.yarn_log_multiplier", 0.1 * r.mscale_all_dim);
}

}  // namespace

void write_rope(const Config& c, GgufKeys& keys) {
  const RopeConfig& r = c.rope;
  keys.number("rope.freq_base", r.theta);
  switch (r.scaling) {
    case RopeScaling::none: return;
    case RopeScaling::linear:
    case RopeScaling::yarn:
      keys.text("rope.scaling.type", r.scaling == RopeScaling::yarn ? "yarn" : "linear");
      keys.number("rope.scaling.factor", r.factor);
      if (r.scaling == RopeScaling::linear) return;
      keys.count("rope.scaling.original_context_length", static_cast<int64_t>(r.original));
      return write_yarn(c, keys);
    case RopeScaling::llama3: {  // its frequencies are a tensor, rope_freqs.weight
      const float values[] = {static_cast<float>(r.factor), static_cast<float>(r.low_freq),
                              static_cast<float>(r.high_freq), static_cast<float>(r.original)};
      return keys.header().add(kLlama3RopeKey, std::span<const float>(values));
    }
    case RopeScaling::divisors: return;  // the same tensor
  }
}

void write_gqa(const Config& c, Json& json) {
  json.set("num_key_value_heads", c.kv_heads);
  json.set("head_dim", c.head_dim);
  write_rope(c, json);
}

void write_gqa(const Config& c, GgufKeys& keys) {
  keys.count("attention.head_count_kv", c.kv_heads);
  keys.count("attention.key_length", c.head_dim);
  keys.count("attention.value_length", c.head_dim);
  keys.count("rope.dimension_count", c.head_dim);
  write_rope(c, keys);
}

bool same_divisors(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b, [](float x, float y) { return std::abs(x - y) <= 1e-4f * std::abs(y); });
}

bool is_sound_llama3(const RopeConfig& rope) {
  return rope.factor >= kLeastRopeFactor && rope.factor <= kMostRopeFactor && rope.low_freq >= kLeastTurns &&
         rope.low_freq <= kMostTurns && rope.high_freq >= kLeastTurns && rope.high_freq <= kMostTurns &&
         rope.original >= 1 && rope.original <= kMaxContext;
}

// The published models have low 1, high 4 and original 8192. Others are fitted: between the two ends the
// share of the plain frequency is a straight line over it, orig / (high - low) * f / 2 pi - low / (high -
// low). Only ratios of the three tell, so that low is 1.
std::optional<RopeConfig> llama3_of_divisors(const RopeConfig& rope) {
  if (rope.divisors.empty()) return std::nullopt;
  RopeConfig named = rope;
  named.divisors.clear();
  named.scaling = RopeScaling::llama3;
  named.factor = decimal(*std::ranges::max_element(rope.divisors));
  named.low_freq = 1;
  const auto fits = [&](double high, double original) {
    named.high_freq = high;
    named.original = original;
    return high > 1 && is_sound_llama3(named) && same_divisors(rope_divisors(named), rope.divisors);
  };
  if (fits(4, 8192)) return named;
  std::vector<std::pair<double, double>> middle;  // turns a position, share of the plain frequency
  for (size_t i = 0; i < rope.divisors.size(); ++i) {
    const double d = static_cast<double>(rope.divisors[i]);
    if (!(d > 1.0001 && d < named.factor * 0.9999)) continue;
    const double f = std::pow(rope.theta, -2.0 * static_cast<double>(i) / rope.dims);
    middle.emplace_back(f / (2 * std::numbers::pi), (1 / d - 1 / named.factor) / (1 - 1 / named.factor));
  }
  if (middle.empty()) return std::nullopt;
  const auto [x, s] = middle.front();
  if (fits(4, std::round((3 * s + 1) / x))) return named;
  if (middle.size() < 2) return std::nullopt;
  const auto [x2, s2] = middle.back();
  const double slope = (s - s2) / (x - x2), high = 1 - 1 / (s - slope * x);
  if (fits(std::round(high * 1000) / 1000, std::round(slope * (high - 1)))) return named;
  return std::nullopt;
}

}  // namespace minke
