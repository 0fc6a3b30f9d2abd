#pragma once
// What the encoders share: a block brought to size 1, sets of levels, the sums over a block from which least
// squares make a scale, and units for integer scales.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/float.h"
#include "quant/blocks.h"
#include "quant/pack.h"
#include "quant/reference.h"

namespace minke {

// Four numbers at once: what every processor has.
using Lanes = float __attribute__((vector_size(16)));
constexpr int kLanes = 4;

inline Lanes load_lanes(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Lanes all_lanes(float v) { return Lanes{v, v, v, v}; }
inline float sum(Lanes v) { return (v[0] + v[1]) + (v[2] + v[3]); }
inline Lanes cut(Lanes v, float lo, float hi) {
  const Lanes l = all_lanes(lo), h = all_lanes(hi);
  v = v < l ? l : v;
  return v > h ? h : v;
}
// To the nearest integer, of two the even one; |v| < 2^22.
inline Lanes nearest(Lanes v) {
  const Lanes big = all_lanes(0x1.8p23f);
  return (v + big) - big;
}
inline float inverse(float d) {
  const float id = 1 / d;
  return std::abs(id) <= 0x1p120f ? id : 0;  // 0 for 0 and what is next to it
}

// Weights of a block times the power of two that brings their largest magnitude to [1, 2), so that no square
// overflows or vanishes; what each weighs, at most 1. Scales are rounded to f16 as they will be stored.
template <int kWeights>
struct Scaled {
  alignas(16) float x[kWeights], w[kWeights];
  float up = 1, down = 1;  // x = up * value, value = down * x

  Scaled(const float* values, const float* importance) {
    const auto finite = [](float v) { return std::abs(v) <= 0x1.fffffep127f ? v : 0; };
    float largest = 0, heaviest = 0;
    for (int e = 0; e < kWeights; ++e) largest = std::max(largest, std::abs(finite(values[e])));
    const bool zero = largest < 0x1p-60f;  // f16 scales end at 2^-24
    const int exponent = zero ? 0 : std::ilogb(largest);
    up = std::ldexp(1.0f, -exponent);
    down = std::ldexp(1.0f, exponent);
    for (int e = 0; e < kWeights; ++e) x[e] = zero ? 0 : finite(values[e]) * up;
    std::fill_n(w, kWeights, 1.0f);
    if (!importance) return;
    for (int e = 0; e < kWeights; ++e) heaviest = std::max(heaviest, finite(importance[e]));
    if (!(heaviest > 0)) return;
    // The least share keeps sums above zero.
    for (int e = 0; e < kWeights; ++e) w[e] = std::max(finite(importance[e]) / heaviest, 1e-7f);
  }

  uint16_t to_f16(float d) const {
    const uint16_t code = f32_to_f16(d * down);
    return (code & 0x7fff) < 0x7c00 ? code : static_cast<uint16_t>((code & 0x8000) | 0x7bff);
  }
  float from_f16(uint16_t code) const { return f16_to_f32(code) * up; }
};

// The integers lo .. hi.
struct EvenLevels {
  float lo, hi, reach;  // reach: how far from either end a good scale may put the largest weight
  Lanes operator()(Lanes y) const { return nearest(cut(y, lo, hi)); }
  int code(float y) const { return static_cast<int>((*this)(all_lanes(y))[0] - lo); }
};

// The levels of IQ4. Between two of them lies a multiple of 1/2, so that floor(2 y) decides which is next.
struct Iq4Levels {
  static constexpr float lo = -127, hi = 113, reach = 26;
  static constexpr auto kCodes = [] {
    std::array<uint8_t, 512> codes{};
    int code = 0;
    for (int i = 0; i < 512; ++i) {
      while (code < 15 && i - 256 >= kIq4Values[code] + kIq4Values[code + 1]) ++code;
      codes[static_cast<size_t>(i)] = static_cast<uint8_t>(code);
    }
    return codes;
  }();
  static constexpr auto kValues = [] {
    std::array<float, 512> values{};
    for (size_t i = 0; i < 512; ++i) values[i] = kIq4Values[kCodes[i]];
    return values;
  }();
  static int code(float y) {
    return kCodes[static_cast<size_t>(static_cast<int>(std::clamp(y * 2 + 256, 0.0f, 511.0f)))];
  }
  Lanes operator()(Lanes y) const {
    const Lanes at = cut(y * 2 + 256, 0, 511);
    const auto value = [&](int i) { return kValues[static_cast<size_t>(static_cast<int>(at[i]))]; };
    return Lanes{value(0), value(1), value(2), value(3)};
  }
};

// Over a block, v the level next to x / d: sums of w x v and w v^2, and of w (x - d v)^2.
struct Sums {
  float xv = 0, vv = 0, error = 0;
  float gain() const { return vv > 0 ? xv * xv / vv : 0; }  // what the best scale takes off the sum of w x^2
};

template <typename Levels>
Sums sums_at(const Levels& levels, const float* x, const float* w, int n, float d) {
  const Lanes id = all_lanes(inverse(d)), scale = all_lanes(d);
  Lanes xv{}, vv{}, error{};
  for (int e = 0; e < n; e += kLanes) {
    const Lanes xe = load_lanes(x + e), we = load_lanes(w + e), v = levels(xe * id), wv = we * v;
    const Lanes off = xe - scale * v;
    xv += wv * xe;
    vv += wv * v;
    error += we * off * off;
  }
  return {sum(xv), sum(vv), sum(error)};
}

// The scale that loses least: those near which the weight of largest magnitude is the first or the last level
// are tried, and the best of them is refined until its codes stay.
template <typename Levels>
float best_scale(const Levels& levels, const float* x, const float* w, int n, Sums& best) {
  constexpr int kSteps = 9;
  float largest = 0;
  for (int e = 0; e < n; ++e)
    if (std::abs(x[e]) > std::abs(largest)) largest = x[e];
  best = {};
  if (largest == 0) return 0;
  for (const float end : {levels.lo, levels.hi})
    for (int step = -kSteps; step <= kSteps; ++step) {
      const float level = end + levels.reach * static_cast<float>(step) / kSteps;
      const Sums sums = sums_at(levels, x, w, n, largest / level);
      if (sums.gain() > best.gain()) best = sums;
    }
  for (int round = 0; round < 4 && best.vv > 0; ++round) {
    const Sums sums = sums_at(levels, x, w, n, best.xv / best.vv);
    if (!(sums.gain() > best.gain())) break;
    best = sums;
  }
  return best.vv > 0 ? best.xv / best.vv : 0;
}

// f(values, importance or null, block) for each block of a row.
template <typename Block, int kWeights, typename F>
void encode_blocks(const float* values, const float* importance, std::byte* blocks, int64_t n, F f) {
  each_block<Block, kWeights>(values, blocks, n, [&](const float* x, Block& block) {
    f(x, importance ? importance + (x - values) : nullptr, block);
  });
}

// The kBest units in which numbers, each with a weight, are best counted in integers lo .. hi (lo <= 0): the
// largest of them becomes lo .. lo / 2 or hi .. hi / 2. Zeros where there are fewer.
template <int kBest, int kNumbers>
std::array<float, kBest> best_units(const float* numbers, const float* weights, int lo, int hi) {
  std::array<float, kBest> best{}, costs;
  costs.fill(HUGE_VALF);
  float largest = 0;
  for (int i = 0; i < kNumbers; ++i)
    if (std::abs(numbers[i]) > std::abs(largest)) largest = numbers[i];
  if (largest == 0) return best;
  const auto consider = [&](int k) {
    float d = largest / static_cast<float>(k), cost = 0;
    const float id = static_cast<float>(k) / largest;
    for (int i = 0; i < kNumbers; ++i) {
      const float v =
          std::clamp(std::nearbyint(numbers[i] * id), static_cast<float>(lo), static_cast<float>(hi));
      const float off = numbers[i] - d * v;
      cost += weights[i] * off * off;
    }
    for (size_t b = 0; b < kBest; ++b)
      if (cost < costs[b]) std::swap(d, best[b]), std::swap(cost, costs[b]);
  };
  for (int k = lo; k < 0 && k <= lo / 2; ++k) consider(k);
  for (int k = hi; k > hi / 2; --k) consider(k);
  return best;
}

}  // namespace minke
