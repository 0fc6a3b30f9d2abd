// Encoders of the formats of 256 weights whose sub-blocks have a small integer scale and no minimum.

#include "quant/encode.h"
#include "quant/encode_search.h"

namespace minke {
namespace {

using Super = Scaled<kSuperBlock>;

template <int kSubs>
struct Scales {
  uint16_t d = 0;
  std::array<int, kSubs> s{};
};

// Integer scales under d: of each sub-block the one next to its own scale or a neighbour. Returns the loss;
// `fitted` is the d that least squares make of the codes.
template <int kSubs, typename Levels>
double fit_scales(const Levels& levels, const Super& block, const float* own, int lo, int hi,
                  Scales<kSubs>& scales, float& fitted) {
  constexpr int kSize = kSuperBlock / kSubs;
  const float d = block.from_f16(scales.d), id = inverse(d);
  double lost = 0, xv = 0, vv = 0;
  for (int i = 0; i < kSubs; ++i) {
    const float *x = block.x + i * kSize, *w = block.w + i * kSize;
    const int middle = static_cast<int>(
        std::nearbyint(std::clamp(own[i] * id, static_cast<float>(lo), static_cast<float>(hi))));
    Sums best;
    bool first = true;
    for (int s = std::max(lo, middle - 1); s <= std::min(hi, middle + 1); ++s) {
      const Sums sums = sums_at(levels, x, w, kSize, d * static_cast<float>(s));
      if (!first && !(sums.error < best.error)) continue;
      best = sums;
      scales.s[static_cast<size_t>(i)] = s;
      first = false;
    }
    const double s = scales.s[static_cast<size_t>(i)];
    lost += best.error;
    xv += s * best.xv;
    vv += s * s * best.vv;
  }
  fitted = vv > 0 ? static_cast<float>(xv / vv) : 0;
  return lost;
}

template <int kSubs, typename Levels>
Scales<kSubs> encode_block(const Levels& levels, const Super& block, int lo, int hi,
                           uint8_t codes[kSuperBlock]) {
  constexpr int kSize = kSuperBlock / kSubs;
  float own[kSubs], weights[kSubs];
  for (int i = 0; i < kSubs; ++i) {
    Sums sums;
    own[i] = best_scale(levels, block.x + i * kSize, block.w + i * kSize, kSize, sums);
    weights[i] = sums.vv;
  }
  Scales<kSubs> best;
  double least = HUGE_VAL;
  for (float d : best_units<3, kSubs>(own, weights, lo, hi)) {
    for (int round = 0; round < 3 && d != 0; ++round) {
      Scales<kSubs> scales;
      scales.d = block.to_f16(d);
      float fitted = 0;
      const double lost = fit_scales<kSubs>(levels, block, own, lo, hi, scales, fitted);
      if (lost < least) best = scales, least = lost;
      if (block.to_f16(fitted) == scales.d) break;
      d = fitted;
    }
  }
  for (int i = 0; i < kSubs; ++i) {
    const float id = inverse(block.from_f16(best.d) * static_cast<float>(best.s[static_cast<size_t>(i)]));
    for (int e = i * kSize; e < (i + 1) * kSize; ++e)
      codes[e] = static_cast<uint8_t>(levels.code(block.x[e] * id));
  }
  return best;
}

}  // namespace

void encode_q3_k(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-4, 3, 1.6f};
  encode_blocks<BlockQ3_K, kSuperBlock>(
      values, importance, blocks, n, [&](const float* x, const float* w, BlockQ3_K& block) {
        uint8_t q[kSuperBlock];
        const Scales<16> scales = encode_block<16>(levels, Super(x, w), -32, 31, q);
        block = {};
        block.d = scales.d;
        pack_pairs(q, block.qs);
        for (int e = 0; e < kSuperBlock; ++e) {
          uint8_t& byte = block.hmask[e % 32];
          byte = static_cast<uint8_t>(byte | q[e] >> 2 << e / 32);
        }
        for (int j = 0; j < 16; ++j) {
          const int s = scales.s[static_cast<size_t>(j)] + 32;
          uint8_t &low = block.scales[j % 8], &high = block.scales[8 + j % 4];
          low = static_cast<uint8_t>(low | (s & 15) << 4 * (j / 8));
          high = static_cast<uint8_t>(high | s >> 4 << 2 * (j / 4));
        }
      });
}

void encode_q6_k(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr EvenLevels levels{-32, 31, 3};
  encode_blocks<BlockQ6_K, kSuperBlock>(
      values, importance, blocks, n, [&](const float* x, const float* w, BlockQ6_K& block) {
        uint8_t q[kSuperBlock];
        const Scales<16> scales = encode_block<16>(levels, Super(x, w), -128, 127, q);
        block = {};
        block.d = scales.d;
        for (int j = 0; j < 16; ++j) block.scales[j] = static_cast<int8_t>(scales.s[static_cast<size_t>(j)]);
        for (int e = 0; e < kSuperBlock; ++e) {
          const int h = e / 128, g = e % 128 / 32, l = e % 32;
          uint8_t &low = block.ql[64 * h + 32 * (g % 2) + l], &high = block.qh[32 * h + l];
          low = static_cast<uint8_t>(low | (q[e] & 15) << 4 * (g / 2));
          high = static_cast<uint8_t>(high | q[e] >> 4 << 2 * g);
        }
      });
}

void encode_iq4_xs(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  encode_blocks<BlockIq4Xs, kSuperBlock>(
      values, importance, blocks, n, [&](const float* x, const float* w, BlockIq4Xs& block) {
        uint8_t q[kSuperBlock];
        const Scales<8> scales = encode_block<8>(Iq4Levels{}, Super(x, w), -32, 31, q);
        block = {};
        block.d = scales.d;
        for (int i = 0; i < 8; ++i) {
          const int s = scales.s[static_cast<size_t>(i)] + 32;
          block.scales_l[i / 2] = static_cast<uint8_t>(block.scales_l[i / 2] | (s & 15) << 4 * (i % 2));
          block.scales_h = static_cast<uint16_t>(block.scales_h | s >> 4 << 2 * i);
          pack_nibbles(q + 32 * i, block.qs + 16 * i);
        }
      });
}

}  // namespace minke
