// Encoders of the formats of 256 weights whose sub-blocks have a small integer scale and a small integer
// minimum: x = d s q - dmin m.

#include "quant/encode.h"
#include "quant/encode_affine.h"

namespace minke {
namespace {

using Super = Scaled<kSuperBlock>;

template <int kSubs>
struct ScalesAndMins {
  uint16_t d = 0, dmin = 0;
  std::array<int, kSubs> s{}, m{};
};

// Sums over a block from which least squares make d and dmin.
struct Normal {
  double ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;

  void add(int s, int m, const WeightSums& of, const CodeSums& at) {
    ss += double{at.qq} * s * s;
    sm += double{at.q} * s * m;
    mm += double{of.w} * m * m;
    xs += double{at.xq} * s;
    xm += double{of.x} * m;
  }
  Line solve() const {  // step d, base dmin
    const double det = ss * mm - sm * sm;
    if (det > 1e-9 * ss * mm)
      return {static_cast<float>((xs * mm - xm * sm) / det), static_cast<float>((xs * sm - xm * ss) / det)};
    if (ss > 0) return {static_cast<float>(xs / ss), 0};
    return {0, mm > 0 ? static_cast<float>(-xm / mm) : 0};
  }
};

template <int kSubs>
struct Search {
  static constexpr int kSize = kSuperBlock / kSubs;
  const Super& block;
  int top, top_scale;  // of codes; of scales and minima
  Line own[kSubs];     // the sub-blocks' lines before they are rounded
  bool spare[kSubs];   // whether their codes end below the top
  std::array<WeightSums, kSubs> of;
  ScalesAndMins<kSubs> best;
  double least = HUGE_VAL;

  Search(const Super& b, int top_code, int top_of_scales)
      : block(b), top(top_code), top_scale(top_of_scales) {
    float scales[kSubs], mins[kSubs], scale_weights[kSubs], min_weights[kSubs];
    for (int i = 0; i < kSubs; ++i) {
      const float *x = block.x + i * kSize, *w = block.w + i * kSize;
      const WeightSums sums = of[static_cast<size_t>(i)] = WeightSums(x, w, kSize);
      own[i] = best_line(x, w, kSize, top, sums, 0);
      const float end = own[i].base + own[i].step * (static_cast<float>(top) - 0.5f);
      spare[i] = own[i].step > 0 && *std::max_element(x, x + kSize) < end;
      scales[i] = own[i].step;
      mins[i] = -own[i].base;
      scale_weights[i] = line_sums(x, w, kSize, top, own[i]).qq;
      min_weights[i] = sums.w;
    }
    for (const float d : best_units<2, kSubs>(scales, scale_weights, 0, top_scale))
      for (const float dmin : best_units<2, kSubs>(mins, min_weights, 0, top_scale)) refine({d, dmin});
  }

  void refine(Line units) {
    for (int round = 0; round < 3; ++round) {
      ScalesAndMins<kSubs> now;
      now.d = block.to_f16(units.step);
      now.dmin = block.to_f16(units.base);
      Normal normal;
      double lost = 0;
      for (int i = 0; i < kSubs; ++i) lost += fit(i, now, normal);
      if (lost < least) best = now, least = lost;
      const Line fitted = normal.solve();
      if (block.to_f16(fitted.step) == now.d && block.to_f16(fitted.base) == now.dmin) return;
      units = fitted;
    }
  }

  int to_scale(float v) const {
    return static_cast<int>(std::nearbyint(std::clamp(v, 0.0f, static_cast<float>(top_scale))));
  }

  // Scale and minimum of sub-block i: the scale next to its own or a neighbour; of each, the minimum next to
  // its own and the one that least squares make of the codes. Where the sub-block has codes to spare, also
  // the minimum with which they begin one step higher.
  double fit(int i, ScalesAndMins<kSubs>& to, Normal& normal) const {
    const float d = block.from_f16(to.d), dmin = block.from_f16(to.dmin), idmin = inverse(dmin);
    const float *x = block.x + i * kSize, *w = block.w + i * kSize;
    const WeightSums& sums = of[static_cast<size_t>(i)];
    const int middle = to_scale(own[i].step * inverse(d)), own_min = to_scale(-own[i].base * idmin);
    CodeSums chosen;
    int chosen_s = 0, chosen_m = 0;
    bool first = true;
    const auto consider = [&](int s, int m) {
      const Line line{d * static_cast<float>(s), -dmin * static_cast<float>(m)};
      const CodeSums at = line_sums(x, w, kSize, top, line);
      if (first || at.error < chosen.error) chosen = at, chosen_s = s, chosen_m = m;
      first = false;
      return at;
    };
    const auto refine_min = [&](int s, int m) {
      for (int round = 0; round < 3; ++round) {
        const CodeSums at = consider(s, m);
        const int next = to_scale((d * static_cast<float>(s) * at.q - sums.x) / sums.w * idmin);
        if (next == m) break;
        m = next;
      }
    };
    for (int s = std::max(0, middle - 1); s <= std::min(top_scale, middle + 1); ++s) {
      refine_min(s, own_min);
      if (spare[i]) refine_min(s, to_scale((own[i].step - own[i].base) * idmin));
    }
    to.s[static_cast<size_t>(i)] = chosen_s;
    to.m[static_cast<size_t>(i)] = chosen_m;
    normal.add(chosen_s, chosen_m, sums, chosen);
    return chosen.error;
  }
};

// A block's codes and scales; into the block, d and dmin.
template <int kSubs, typename Block>
ScalesAndMins<kSubs> encode_block(const float* x, const float* w, int top, int top_scale, Block& block,
                                  uint8_t codes[kSuperBlock]) {
  constexpr int kSize = kSuperBlock / kSubs;
  const Super scaled(x, w);
  const ScalesAndMins<kSubs> best = Search<kSubs>(scaled, top, top_scale).best;
  const float d = scaled.from_f16(best.d), dmin = scaled.from_f16(best.dmin);
  for (size_t i = 0; i < kSubs; ++i)
    put_codes(scaled.x + i * kSize, kSize, top,
              {d * static_cast<float>(best.s[i]), -dmin * static_cast<float>(best.m[i])}, codes + i * kSize);
  block.d = best.d;
  block.dmin = best.dmin;
  return best;
}

// The scales and minima of Q4_K and Q5_K.
void pack_scales(const ScalesAndMins<8>& of, uint8_t scales[12]) {
  std::memset(scales, 0, 12);
  for (int i = 0; i < 8; ++i) {
    const int s = of.s[static_cast<size_t>(i)], m = of.m[static_cast<size_t>(i)];
    if (i < 4) {
      scales[i] = static_cast<uint8_t>(scales[i] | s);
      scales[i + 4] = static_cast<uint8_t>(scales[i + 4] | m);
    } else {
      scales[i + 4] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
      scales[i - 4] = static_cast<uint8_t>(scales[i - 4] | s >> 4 << 6);
      scales[i] = static_cast<uint8_t>(scales[i] | m >> 4 << 6);
    }
  }
}

// Low nibbles of sub-blocks 2 i, high ones of 2 i + 1.
void pack_low_bits(const uint8_t* codes, uint8_t qs[128]) {
  for (int i = 0; i < 4; ++i)
    for (int l = 0; l < 32; ++l)
      qs[32 * i + l] = static_cast<uint8_t>((codes[64 * i + l] & 15) | codes[64 * i + 32 + l] << 4);
}

// What Q4_K and Q5_K share: all but the fifth bits.
template <typename Block>
void encode_low_bits(const float* x, const float* w, int top, Block& block, uint8_t codes[kSuperBlock]) {
  pack_scales(encode_block<8>(x, w, top, 63, block, codes), block.scales);
  pack_low_bits(codes, block.qs);
}

}  // namespace

void encode_q2_k(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockQ2_K, kSuperBlock>(
      values, importance, blocks, n, [](const float* x, const float* w, BlockQ2_K& block) {
        uint8_t q[kSuperBlock];
        const auto best = encode_block<16>(x, w, 3, 15, block, q);
        for (size_t j = 0; j < 16; ++j) block.scales[j] = static_cast<uint8_t>(best.s[j] | best.m[j] << 4);
        pack_pairs(q, block.qs);
      });
}

void encode_q4_k(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockQ4_K, kSuperBlock>(values, importance, blocks, n,
                                        [](const float* x, const float* w, BlockQ4_K& block) {
                                          uint8_t q[kSuperBlock];
                                          encode_low_bits(x, w, 15, block, q);
                                        });
}

void encode_q5_k(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockQ5_K, kSuperBlock>(
      values, importance, blocks, n, [](const float* x, const float* w, BlockQ5_K& block) {
        uint8_t q[kSuperBlock];
        encode_low_bits(x, w, 31, block, q);
        std::memset(block.qh, 0, sizeof block.qh);
        for (int e = 0; e < kSuperBlock; ++e)
          block.qh[e % 32] = static_cast<uint8_t>(block.qh[e % 32] | q[e] >> 4 << e / 32);
      });
}

}  // namespace minke
