// Activations into the layout products read (operand.h): rounded to int8 or bf16, or kept as f32.

#include "kernels/operand.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/bf16.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// One block of T tokens as bytes, before they are laid into their tile, in halves.
constexpr int kHalf = kBlock / 2;
template <int T>
struct alignas(64) Codes {
  int8_t q[2][T][kHalf];
};

MINKE_INLINE float peak_of(const float* x) { return largest(max(abs(load(x)), abs(load(x + 16)))); }

// x * inverse to nearest even, for 16 values.
MINKE_INLINE Vi round_16(const float* x, float inverse) { return to_int(mul(load(x), set1(inverse))); }

// One block of one token: where its bytes go, half by half, and sums over each four of them.
struct QuantBlock {
  int8_t* halves[2];
  alignas(64) int32_t sum4[kBlock / 4], size4[kBlock / 4];  // of q, of |q|

  // 64 values from column `at` as bytes. Nothing is read as a longer word than it was written in: that waits
  // for all writes before it, most of them to lines another core has.
  MINKE_INLINE void put(int at, Vi a, Vi b, Vi c, Vi d) {
    const Vi all = narrow(a, b, c, d), ones = set1(0x01010101);
    store_bytes(halves[at / kHalf] + at % kHalf, all);
    store(sum4 + at / 4, dot8(zero_i(), ones, all));
    if constexpr (kPairSums) {
      const Vi negative = bit_and(shr<7>(all), ones);  // and |q| = 255 for those ^ q, + 1
      const Vi size = bit_xor(all, sub(shl<8>(negative), negative));
      store(size4 + at / 4, dot8(dot8(zero_i(), ones, size), ones, negative));
    }
  }
};

constexpr float kRestUnit = 1.0f / 254.0f;  // of the first scale: what is left over is at most half of that

// Scales of eight groups of 32, as steps of their block's unit, of which 127 makes the peak or more, and what
// brings values to them.
struct Scales {
  alignas(64) float scale[kPanel], inverse[kPanel];
  alignas(64) int32_t step[kPanel];
  float unit;
};

MINKE_INLINE void choose_scales(Vf peak, Scales& s) {
  s.unit = largest(peak) / (8.0f * 127.0f);
  Vi step = set1(1);  // the least that holds the peak: a step more for each that is too small
  for (int i = 1; i < 8; ++i)
    step = add(step, shr<31>(as_int(sub(set1(s.unit * static_cast<float>(127 * i)), peak))));
  const Vf scale = mul(set1(s.unit), to_float(step));
  store(s.step, step);
  store(s.scale, scale);
  // Where a scale is 0, so are the values, or nearly.
  store(s.inverse, min(div(set1(1.0f), scale), set1(std::numeric_limits<float>::max())));
}

// What rounding left over of 16 values, rounded under kRestUnit of their scale.
MINKE_INLINE Vi rest_16(const float* x, const Scales& s, int i) {
  const Vf rest = fma(set1(-s.scale[i]), to_float(round_16(x, s.inverse[i])), load(x));
  const float scale = s.scale[i] * kRestUnit;
  return to_int(mul(rest, set1(scale > 0.0f ? 1.0f / scale : 0.0f)));
}

// Lane i: the sum of the four at 4 i.
MINKE_INLINE Vi sums_of_fours(const int32_t* x) {
  Vi w[4];
  transpose4(Strided{reinterpret_cast<const std::byte*>(x), 16}, 0, w);
  return add(add(w[0], w[1]), add(w[2], w[3]));
}

MINKE_INLINE uint8_t in_reach_units(int32_t most) {
  return static_cast<uint8_t>(static_cast<uint32_t>(most + kReachUnit - 1) / kReachUnit);
}

// Loop by loop, so that compilers make each of them a few instructions.
MINKE_INLINE void describe(const QuantBlock& b, const Scales& s, float unit, TokenBlock& t) {
  alignas(64) int32_t sum[16];
  store(sum, sums_of_fours(b.sum4));
  int32_t sum32[8], step_sum[8];
  for (int i = 0; i < 8; ++i) sum32[i] = sum[2 * i] + sum[2 * i + 1];
  for (int i = 0; i < 8; ++i) step_sum[i] = s.step[i] * sum32[i];
  for (int i = 0; i < 16; ++i) t.below16[i] = -kBelow16 * sum[i];
  for (int i = 0; i < 8; ++i) t.below32[i] = -kBelow32 * sum32[i];
  for (int i = 0; i < 8; ++i) t.wide32[i] = -kWide32 * sum32[i];
  for (int i = 0; i < 8; ++i) t.step[i] = s.step[i];
  for (int i = 0; i < 8; ++i) t.f32_step[i] = static_cast<float>(s.step[i]);
  for (int i = 0; i < 8; ++i) t.steps[i / 2][i % 2] = static_cast<int16_t>(s.step[i]);
  for (int i = 0; i < 8; ++i) t.row[i] = static_cast<uint8_t>((s.step[i] - 1) * (kStepRow / kRowUnit));
  for (int i = 0; i < 8; ++i) t.step_sum[i] = static_cast<float>(step_sum[i]);
  for (int i = 0; i < 8; ++i) t.steps_sum16[i][0] = static_cast<int16_t>(s.step[i] * sum[2 * i]);
  for (int i = 0; i < 8; ++i) t.steps_sum16[i][1] = static_cast<int16_t>(s.step[i] * sum[2 * i + 1]);
  for (int i = 0; i < 8; ++i) t.steps_sum[i / 2][i % 2] = static_cast<int16_t>(step_sum[i]);
  t.scale = unit;
  t.rest = 0;
}

// How far sums of products can go, of which those of rests are never paired.
MINKE_INLINE void describe_reach(const QuantBlock& b, TokenBlock& t) {
  alignas(64) int32_t size[16];
  store(size, sums_of_fours(b.size4));
  int32_t reach[8];
  for (int i = 0; i < 8; ++i)
    reach[i] = (size[2 * i] + size[2 * i + 1] + std::abs(t.below32[i]) / kBelow32) / 2;
  for (int i = 0; i < 8; ++i) t.reach32[i] = in_reach_units(reach[i]);
  for (int i = 0; i < 8; ++i) t.reach16[i] = in_reach_units(std::max(size[2 * i], size[2 * i + 1]));
}

// One block, and in `second` and `rest` what rounding left of the groups of 32 whose peak is above
// `threshold`.
void round_block(const float* x, float threshold, QuantBlock& b, TokenBlock& token, QuantBlock& second,
                 TokenBlock& rest) {
  float peak[8];
  for (int i = 0; i < 8; ++i) peak[i] = peak_of(x + 32 * i);
  uint32_t mask = 0;
  for (int i = 0; i < 8; ++i) mask |= uint32_t{peak[i] > threshold} << i;
  Scales s;
  choose_scales(lanes8(peak), s);
  for (int i = 0; i < 8; i += 2) {
    const float* at = x + 32 * i;
    const float low = s.inverse[i], high = s.inverse[i + 1];
    b.put(32 * i, round_16(at, low), round_16(at + 16, low), round_16(at + 32, high),
          round_16(at + 48, high));
  }
  describe(b, s, s.unit, token);
  if constexpr (kPairSums) describe_reach(b, token);
  token.rest = mask;
  if (mask == 0) return;
  for (int i = 0; i < 8; i += 2) {
    const float* at = x + 32 * i;
    const auto left = [&](int j, int k) { return mask >> j & 1 ? rest_16(at + 16 * k, s, j) : zero_i(); };
    second.put(32 * i, left(i, 0), left(i, 1), left(i + 1, 2), left(i + 1, 3));
  }
  describe(second, s, s.unit * kRestUnit, rest);
}

template <int T>
MINKE_INLINE void place_codes(const Codes<T>& c, int from, int to, QuantTile<T>& tile) {
  constexpr int kWords = kHalf / 4;
  if constexpr (T == kPanel / 2) {  // a lane for each token and half
    if (from == 0 && to == T) {
      for (int k = 0; k < kWords; k += 4) {
        Vi words[4];
        transpose4(Strided{reinterpret_cast<const std::byte*>(c.q), kHalf}, 4 * k, words);
        unroll<4>([&](auto j) MINKE_INLINED {
          alignas(64) int32_t both[2][T];
          store(both[0], words[j]);
          for (int h = 0; h < 2; ++h) std::memcpy(tile.q[h * kWords + k + j], both[h], sizeof both[h]);
        });
      }
      return;
    }
  }
  for (int t = from; t < to; ++t)
    for (int k = 0; k < kBlock / 4; ++k) std::memcpy(tile.q[k][t], c.q[k / kWords][t] + k % kWords * 4, 4);
}

// The columns of block k of a row, padded with zeros.
MINKE_INLINE const float* block_of(const float* row, int cols, int k, float* padded) {
  const int left = cols - k * kBlock;
  if (left >= kBlock) return row + k * kBlock;
  std::memset(padded, 0, kBlock * sizeof(float));
  std::memcpy(padded, row + k * kBlock, static_cast<size_t>(left) * sizeof(float));
  return padded;
}

// A token's block that stays floats, into its place of a tile.
template <int T>
MINKE_INLINE void place_floats(Grain grain, const float* x, std::byte* tile, int t) {
  if (grain == Grain::f32) {
    for (int i = 0; i < kBlock; ++i) reinterpret_cast<FloatTile<T>*>(tile)->x[i][t] = x[i];
  } else if constexpr (kBf16Dots) {
    alignas(64) uint16_t rounded[kBlock];
    for (int i = 0; i < kBlock; i += 16) store_bf16(rounded + i, load(x + i));
    for (int i = 0; i < kBlock / 2; ++i)
      std::memcpy(reinterpret_cast<PairTile<T>*>(tile)->x[i][t], rounded + 2 * i, 4);
  } else {
    alignas(64) float rounded[kBlock];
    for (int i = 0; i < kBlock; i += 16) store(rounded + i, round_bf16(load(x + i)));
    for (int i = 0; i < kBlock; ++i) reinterpret_cast<FloatTile<T>*>(tile)->x[i][t] = rounded[i];
  }
}

// Above this peak a group of 32 of the row gets a rest.
float rest_threshold(const float* row, int cols) {
  float padded[kBlock], total = 0.0f;
  for (int k = 0; k < blocks_of(cols); ++k) {
    const float* x = block_of(row, cols, k, padded);
    for (int i = 0; i < 8; ++i) total += peak_of(x + 32 * i);
  }
  const int groups = (cols + 31) / 32;
  return kRestThreshold * total / static_cast<float>(groups);
}

// Tokens [from, to) of the T that share a tile; `rows` is the first of all, out the tile of block 0, rests
// the first one's rest.
template <int T>
void prepare_tile(Grain grain, const float* rows, int64_t stride, int cols, int64_t block_stride,
                  std::byte* out, std::byte* rests, int from, int to, int first_block, int end_block) {
  float padded[kBlock], threshold[T];
  if (grain == Grain::int8)
    for (int t = from; t < to; ++t) threshold[t] = rest_threshold(rows + t * stride, cols);
  out += first_block * block_stride;
  rests += first_block * block_stride;
  for (int k = first_block; k < std::min(end_block, blocks_of(cols));
       ++k, out += block_stride, rests += block_stride) {
    if (grain != Grain::int8) {
      for (int t = from; t < to; ++t)
        place_floats<T>(grain, block_of(rows + t * stride, cols, k, padded), out, t);
      continue;
    }
    auto& tile = *reinterpret_cast<QuantTile<T>*>(out);
    Codes<T> codes;
    for (int t = from; t < to; ++t) {
      auto& rest_tile = reinterpret_cast<QuantTile<1>*>(rests)[t];
      QuantBlock block, rest;
      for (int h = 0; h < 2; ++h) {
        block.halves[h] = codes.q[h][t];
        rest.halves[h] = rest_tile.q[h * kHalf / 4][0];
      }
      round_block(block_of(rows + t * stride, cols, k, padded), threshold[t], block, tile.token[t], rest,
                  rest_tile.token[0]);
    }
    place_codes(codes, from, to, tile);
  }
}

// Not inlined, nor is gather_as: what is set for denormals must stand around all of it.
__attribute__((noinline)) void prepare_as(Grain grain, const float* x, int64_t stride, int tokens, int cols,
                                          const OperandPart& part, std::byte* out) {
  const int64_t bytes = token_bytes(grain, kBf16Dots), block_stride = bytes * tokens;
  const int64_t to_rests = grain == Grain::int8 ? block_stride * blocks_of(cols) : 0;
  const int first = part.first, last = first + part.count, group = first / kTokenGroup * kTokenGroup;
  const int end = std::min(tokens, (last + kTokenGroup - 1) / kTokenGroup * kTokenGroup);
  for_each_tile(group, end, [&](auto T, int t) MINKE_INLINED {
    const int from = std::max(first - t, 0), to = std::min(last - t, +T);
    if (from >= to) return;
    std::byte* at = out + t * bytes;
    prepare_tile<T>(grain, x + t * stride, stride, cols, block_stride, at, at + to_rests, from, to,
                    part.block, part.end);
  });
}

// Token i's own operand: its tiles, and behind them its rests.
template <typename Tile>
MINKE_INLINE const Tile* single(const GatheredRows& x, int i) {
  return reinterpret_cast<const Tile*>(x.rows + x.ids[i] * x.row_bytes);
}
MINKE_INLINE float factor_of(const GatheredRows& x, int i) { return x.factors ? x.factors[i] : 1.0f; }

// Tokens [first, first + T) of an operand, from the operands of single tokens: their block 0s into the tile
// at `out` and the rests from `rests` on, all other blocks block_stride further each.
template <int T>
void gather_codes(const GatheredRows& x, int first, int64_t block_stride, std::byte* out, std::byte* rests) {
  const int blocks = blocks_of(x.cols);
  for (int k = 0; k < blocks; ++k, out += block_stride, rests += block_stride) {
    auto& tile = *reinterpret_cast<QuantTile<T>*>(out);
    Codes<T> codes;
    for (int t = 0; t < T; ++t) {
      const auto* own = single<QuantTile<1>>(x, first + t) + k;
      const float factor = factor_of(x, first + t);
      for (int h = 0; h < 2; ++h) std::memcpy(codes.q[h][t], own->q[h * kHalf / 4], kHalf);
      tile.token[t] = own->token[0];
      tile.token[t].scale *= factor;
      if (tile.token[t].rest == 0) continue;
      auto& rest = reinterpret_cast<QuantTile<1>*>(rests)[first + t];
      rest = own[blocks];
      rest.token[0].scale *= factor;
    }
    place_codes(codes, 0, T, tile);
  }
}

// The same for tokens that stay floats: block k of token `first` and those behind it.
template <int T>
void gather_floats(Grain grain, const GatheredRows& x, int first, int k, std::byte* out) {
  const bool paired = grain == Grain::bf16 && kBf16Dots;
  for (int t = 0; t < T; ++t) {
    alignas(64) float numbers[kBlock];
    const Vf factor = set1(factor_of(x, first + t));
    for (int i = 0; i < kBlock; i += 16) {
      const Vf own = paired ? load_bf16(&single<PairTile<1>>(x, first + t)[k].x[i / 2])
                            : load(&single<FloatTile<1>>(x, first + t)[k].x[i][0]);
      store(numbers + i, mul(own, factor));
    }
    place_floats<T>(grain, numbers, out, t);
  }
}

__attribute__((noinline)) void gather_as(Grain grain, const GatheredRows& x, std::byte* out) {
  const int64_t bytes = token_bytes(grain, kBf16Dots), block_stride = bytes * x.count;
  const int blocks = blocks_of(x.cols);
  for_each_tile(0, x.count, [&](auto T, int first) MINKE_INLINED {
    if (grain == Grain::int8)
      return gather_codes<T>(x, first, block_stride, out + first * bytes, out + block_stride * blocks);
    for (int k = 0; k < blocks; ++k)
      gather_floats<T>(grain, x, first, k, out + block_stride * k + first * bytes);
  });
}

// f, with denormals taken for zeros where it rounds to bf16.
template <typename F>
MINKE_INLINE void rounding_to(Grain grain, const F& f) {
  if (grain != Grain::bf16) return f();
  const Denormals before = flush_denormals();
  f();
  restore(before);
}

void prepare(Grain grain, const float* x, int64_t stride, int tokens, int cols, const OperandPart& part,
             std::byte* out) {
  rounding_to(grain, [&] { prepare_as(grain, x, stride, tokens, cols, part, out); });
}

void gather(Grain grain, const GatheredRows& x, std::byte* out) {
  rounding_to(grain, [&] { gather_as(grain, x, out); });
}

}  // namespace

void MINKE_FILL(operand)(Kernels& table) {
  table.prepare = prepare;
  table.gather = gather;
}

}  // namespace minke
