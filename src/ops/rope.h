#pragma once
// Rotary position embedding: frequencies with their extensions to longer contexts, and angles (MODEL.md 2.3
// to 2.5).

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace minke {

enum class RopeScaling : uint8_t { none, linear, yarn, llama3, divisors };

struct RopeConfig {
  int dims = 0;  // numbers that are turned, in pairs
  double theta = 10000;
  bool half = false;  // pairs (i, i + dims / 2) instead of (2i, 2i + 1)
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;                                                     // linear, yarn, llama3
  double original = 0;                                                   // positions before the extension
  double beta_fast = 32, beta_slow = 1, mscale = 1, mscale_all_dim = 0;  // yarn
  std::optional<double>
      attention_factor;                // yarn: what cos and sin are multiplied by, instead of mscale's ratio
  double low_freq = 1, high_freq = 4;  // llama3
  std::vector<float> divisors;         // [dims / 2], what a GGUF file gives for llama3
  bool operator==(const RopeConfig&) const = default;
};

// inv_freq [dims / 2], rounded to f32 as the references do.
std::vector<float> rope_frequencies(const RopeConfig& config);
// [dims / 2] what plain frequencies are divided by, for llama3 scaling: a GGUF file's rope_freqs.weight.
std::vector<float> rope_divisors(const RopeConfig& config);
// What cos and sin are multiplied by: 1 but for some YaRN settings.
double rope_magnitude(const RopeConfig& config);
// m of YaRN: 0.1 * scale * ln(factor) + 1 for factor > 1.
double yarn_mscale(double factor, double scale);

// cos, sin [positions][dims / 2] of f32(position) * inv_freq, with exact range reduction.
void rope_angles(std::span<const float> frequencies, float magnitude, std::span<const int32_t> positions,
                 float* cos, float* sin);

}  // namespace minke
