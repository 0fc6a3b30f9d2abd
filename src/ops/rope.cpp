#include "ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace minke {
namespace {

double yarn(const RopeConfig& c, double frequency, int i) {
  const auto correction = [&](double turns) {
    return c.dims * std::log(c.original / (2 * std::numbers::pi * turns)) / (2 * std::log(c.theta));
  };
  const double low = std::max(std::floor(correction(c.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction(c.beta_slow)), c.dims - 1.0);
  if (high == low) high += 0.001;
  const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
  return frequency * (1 - ramp) + frequency / c.factor * ramp;
}

double llama3(const RopeConfig& c, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < c.original / c.high_freq) return frequency;
  if (wavelength > c.original / c.low_freq || c.high_freq == c.low_freq) return frequency / c.factor;
  const double s = (c.original / wavelength - c.low_freq) / (c.high_freq - c.low_freq);
  return frequency * s + frequency / c.factor * (1 - s);
}

}  // namespace

double yarn_mscale(double factor, double scale) {
  return factor > 1 ? 0.1 * scale * std::log(factor) + 1 : 1;
}

double rope_magnitude(const RopeConfig& c) {
  if (c.scaling != RopeScaling::yarn) return 1;
  if (c.attention_factor) return *c.attention_factor;
  return yarn_mscale(c.factor, c.mscale) / yarn_mscale(c.factor, c.mscale_all_dim);
}

std::vector<float> rope_frequencies(const RopeConfig& c) {
  std::vector<float> frequencies(static_cast<size_t>(c.dims / 2));
  for (int i = 0; i < c.dims / 2; ++i) {
    double f = std::pow(c.theta, -2.0 * i / c.dims);
    switch (c.scaling) {
      case RopeScaling::none: break;
      case RopeScaling::linear: f /= c.factor; break;
      case RopeScaling::yarn: f = yarn(c, f, i); break;
      case RopeScaling::llama3: f = llama3(c, f); break;
      case RopeScaling::divisors: f /= static_cast<double>(c.divisors[static_cast<size_t>(i)]); break;
    }
    frequencies[static_cast<size_t>(i)] = static_cast<float>(f);
  }
  return frequencies;
}

std::vector<float> rope_divisors(const RopeConfig& c) {
  std::vector<float> divisors(static_cast<size_t>(c.dims / 2));
  for (int i = 0; i < c.dims / 2; ++i) {
    const double f = std::pow(c.theta, -2.0 * i / c.dims);
    divisors[static_cast<size_t>(i)] = static_cast<float>(f / llama3(c, f));
  }
  return divisors;
}

void rope_angles(std::span<const float> frequencies, float magnitude, std::span<const int32_t> positions,
                 float* cos, float* sin) {
  for (const int32_t position : positions) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<float>(position) * frequency;  // rounded to f32, then exact
      *cos++ = magnitude * static_cast<float>(std::cos(angle));
      *sin++ = magnitude * static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace minke
