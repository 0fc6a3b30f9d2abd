#pragma once
// Weights on a line, x = base + step * code with codes 0 .. top: what formats with minima are made of.

#include "quant/encode_search.h"

namespace minke {

struct Line {
  float step, base;
};

// Sums over a block that do not depend on codes: of w, w x and w x^2.
struct WeightSums {
  float w = 0, x = 0, xx = 0;
  WeightSums() = default;
  WeightSums(const float* values, const float* weights, int n) {
    Lanes a{}, b{}, c{};
    for (int e = 0; e < n; e += kLanes) {
      const Lanes v = load_lanes(values + e), we = load_lanes(weights + e), wx = we * v;
      a += we, b += wx, c += wx * v;
    }
    w = sum(a), x = sum(b), xx = sum(c);
  }
};

// Those of the codes q next to the line: of w q, w q^2, w x q and w (x - base - step q)^2.
struct CodeSums {
  float q = 0, qq = 0, xq = 0, error = 0;
};

inline Lanes codes_on(const Lanes& x, const Lanes& base, const Lanes& inverse_step, float top) {
  return nearest(cut((x - base) * inverse_step, 0, top));
}

inline CodeSums line_sums(const float* x, const float* w, int n, int top, Line line) {
  const Lanes base = all_lanes(line.base), step = all_lanes(line.step),
              inverse_step = all_lanes(inverse(line.step));
  Lanes sq{}, sqq{}, sxq{}, error{};
  for (int e = 0; e < n; e += kLanes) {
    const Lanes xe = load_lanes(x + e), we = load_lanes(w + e);
    const Lanes q = codes_on(xe, base, inverse_step, static_cast<float>(top)), wq = we * q;
    const Lanes off = xe - (base + step * q);
    sq += wq, sqq += wq * q, sxq += wq * xe, error += we * off * off;
  }
  return {sum(sq), sum(sqq), sum(sxq), sum(error)};
}

inline void put_codes(const float* x, int n, int top, Line line, uint8_t* codes) {
  const Lanes base = all_lanes(line.base), inverse_step = all_lanes(inverse(line.step));
  for (int e = 0; e < n; e += kLanes) {
    const Lanes q = codes_on(load_lanes(x + e), base, inverse_step, static_cast<float>(top));
    for (int i = 0; i < kLanes; ++i) codes[e + i] = static_cast<uint8_t>(q[i]);
  }
}

// The line through given codes that loses least, its base at most `highest`; `lost` is what it loses.
inline Line least_squares(const WeightSums& of, const CodeSums& at, float highest, float& lost) {
  const float det = of.w * at.qq - at.q * at.q;
  Line line{0, of.x / of.w};
  if (det > 1e-6f * of.w * at.qq)
    line = {(of.w * at.xq - of.x * at.q) / det, (of.x * at.qq - at.q * at.xq) / det};
  if (line.base > highest) line = {at.qq > 0 ? (at.xq - highest * at.q) / at.qq : 0, highest};
  lost = of.xx - 2 * (line.step * at.xq + line.base * of.x) + line.step * line.step * at.qq +
         2 * line.step * line.base * at.q + line.base * line.base * of.w;
  return line;
}

// The line that loses least, its base at most `highest`: ends near the least and the largest weight are
// tried, and the best pair is refined until its codes stay.
inline Line best_line(const float* x, const float* w, int n, int top, const WeightSums& of, float highest) {
  constexpr float kEnds[] = {-0.5f, -0.2f, 0, 0.3f, 0.65f, 1.0f};  // in steps
  const auto [least, most] = std::minmax_element(x, x + n);
  const float lo = std::min(*least, highest), hi = *most;
  Line best{0, std::min(of.x / of.w, highest)};
  if (!(hi > lo)) return best;
  float lost = of.xx - best.base * (2 * of.x - best.base * of.w), now = 0;
  const auto consider = [&](Line line) {
    const Line fitted = least_squares(of, line_sums(x, w, n, top, line), highest, now);
    if (!(now < lost) || !(fitted.step > 0)) return false;
    best = fitted, lost = now;
    return true;
  };
  const float step = (hi - lo) / static_cast<float>(top);
  for (const float low : kEnds)
    for (const float high : kEnds) {
      const float base = std::min(lo + low * step, highest), end = hi - high * step;
      if (end > base) consider({(end - base) / static_cast<float>(top), base});
    }
  for (int k = top - 1; k > 0 && k > top - 4; --k) consider({(hi - lo) / static_cast<float>(k), lo});
  for (int round = 0; round < 4 && consider(best); ++round) {
  }
  // Where codes begin above 0, as many steps are taken off all of them: the line that reference encoders,
  // whose lowest code is 0, had made of the same values.
  const float steps = inverse(best.step), unused = std::floor((*least - best.base) * steps + 0.5f);
  const float whole = std::min(unused, std::floor((highest - best.base) * steps));
  if (whole > 0) best.base += whole * best.step;
  return best;
}

}  // namespace minke
