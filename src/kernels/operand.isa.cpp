// Activations into the layout products read (operand.h): rounded to int8 per 32 or 256 columns, or kept as
// f32.

#include "kernels/operand.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// One block of one token, before it is laid into its tile.
struct QuantBlock {
  int8_t q[kBlock];
  int32_t sum16[16];
  int32_t step[8];
  float scale[8];
};

MINKE_INLINE float peak_of(const float* x) { return largest(max(abs(load(x)), abs(load(x + 16)))); }

// q = x * inverse to nearest even, for 32 values; rest = x - q * scale.
MINKE_INLINE void round_32(const float* x, float scale, float inverse, int8_t* q, float* rest) {
  for (int h = 0; h < 2; ++h) {
    const Vf value = load(x + 16 * h);
    const Vi r = to_int(mul(value, set1(inverse)));
    store_i8(q + 16 * h, r);
    store(rest + 16 * h, fma(set1(-scale), to_float(r), value));
  }
}

// Sums of q over each 16.
MINKE_INLINE void sum_16s(const int8_t* q, int32_t* sum16) {
  alignas(64) int32_t fours[kBlock / 4];
  for (int i = 0; i < kBlock; i += 64) {
    int32_t words[16];
    std::memcpy(words, q + i, sizeof words);
    store(fours + i / 4, dot8(zero_i(), set1(0x01010101), load(words)));
  }
  for (int i = 0; i < 16; ++i)
    sum16[i] = fours[4 * i] + fours[4 * i + 1] + fours[4 * i + 2] + fours[4 * i + 3];
}

constexpr float kRestUnit = 1.0f / 254.0f;  // of the first scale: what is left over is at most half of that

// Scales of eight groups of 32, of which 127 makes the peak or more, and what brings values to them.
struct Scales {
  alignas(64) float scale[kPanel], inverse[kPanel];
  alignas(64) int32_t step[kPanel];
  float unit;  // per_256: a scale is so many steps of it
};

MINKE_INLINE void choose_scales(Grain grain, const float* peaks, Scales& s) {
  const Vf peak = load(peaks);
  Vf scale = div(peak, set1(127.0f));
  Vi step = zero_i();
  if (grain == Grain::per_256) {
    s.unit = largest(peak) / (8.0f * 127.0f);
    step = set1(1);  // the least that holds the peak: a step more for each that is too small
    for (int i = 1; i < 8; ++i)
      step = add(step, shr<31>(as_int(sub(set1(s.unit * static_cast<float>(127 * i)), peak))));
    scale = mul(set1(s.unit), to_float(step));
  }
  store(s.step, step);
  store(s.scale, scale);
  // Where a scale is 0, so are the values, or nearly.
  store(s.inverse, min(div(set1(1.0f), scale), set1(std::numeric_limits<float>::max())));
}

// One block, and in `second` what rounding left of the groups of 32 whose peak is above `threshold`; returns
// their bits.
uint32_t round_block(Grain grain, const float* x, float threshold, QuantBlock& b, QuantBlock& second) {
  alignas(64) float peak[kPanel] = {};
  for (int i = 0; i < 8; ++i) peak[i] = peak_of(x + 32 * i);
  Scales s;
  choose_scales(grain, peak, s);
  uint32_t mask = 0;
  for (int i = 0; i < 8; ++i) {
    b.step[i] = s.step[i];
    b.scale[i] = grain == Grain::per_256 ? s.unit : s.scale[i];
    float rest[32], nothing[32];
    round_32(x + 32 * i, s.scale[i], s.inverse[i], b.q + 32 * i, rest);
    if (peak[i] > threshold) {
      if (mask == 0) second = {};
      mask |= 1u << i;
      const float scale = s.scale[i] * kRestUnit;
      round_32(rest, scale, scale > 0.0f ? 1.0f / scale : 0.0f, second.q + 32 * i, nothing);
    }
  }
  sum_16s(b.q, b.sum16);
  if (mask == 0) return 0;
  sum_16s(second.q, second.sum16);
  for (int i = 0; i < 8; ++i) {
    second.step[i] = b.step[i];
    second.scale[i] = b.scale[i] * kRestUnit;
  }
  return mask;
}

template <int T>
MINKE_INLINE void place(const QuantBlock& b, Grain grain, int t, QuantTile<T>& tile) {
  for (int k = 0; k < kBlock / 4; ++k) std::memcpy(tile.q[k][t], b.q + 4 * k, 4);
  for (int i = 0; i < 8; ++i) {
    const int32_t total = b.sum16[2 * i] + b.sum16[2 * i + 1];
    tile.sum[i][t] = total;
    tile.step[i][t] = b.step[i];
    tile.scale[i][t] = b.scale[i];
    if (grain == Grain::per_32) {
      tile.scaled_sum[i][t] = b.scale[i] * static_cast<float>(total);
    } else {
      tile.steps_sum[i / 2][t][i % 2] = static_cast<int16_t>(b.step[i] * total);
      for (int h = 0; h < 2; ++h)
        tile.steps_sum16[i][t][h] = static_cast<int16_t>(b.step[i] * b.sum16[2 * i + h]);
    }
  }
}

// The columns of block k of a row, padded with zeros.
MINKE_INLINE const float* block_of(const float* row, int cols, int k, float* padded) {
  const int left = cols - k * kBlock;
  if (left >= kBlock) return row + k * kBlock;
  std::memset(padded, 0, kBlock * sizeof(float));
  std::memcpy(padded, row + k * kBlock, static_cast<size_t>(left) * sizeof(float));
  return padded;
}

// Above this peak a group of 32 of the row gets a rest.
float rest_threshold(const float* row, int cols) {
  float padded[kBlock], total = 0.0f;
  for (int k = 0; k < blocks_of(cols); ++k) {
    const float* x = block_of(row, cols, k, padded);
    for (int i = 0; i < 8; ++i) total += peak_of(x + 32 * i);
  }
  return kRestThreshold * total / static_cast<float>((cols + 31) / 32);
}

// Tokens [from, to) of the T that share a tile; `rows` is the first of all, out the tile of block 0, rests
// the first one's rest.
template <int T>
void prepare_tile(Grain grain, const float* rows, int64_t stride, int cols, int64_t block_stride,
                  std::byte* out, std::byte* rests, int from, int to) {
  float padded[kBlock], threshold[T];
  if (grain != Grain::f32)
    for (int t = from; t < to; ++t) threshold[t] = rest_threshold(rows + t * stride, cols);
  for (int k = 0; k < blocks_of(cols); ++k, out += block_stride, rests += block_stride) {
    for (int t = from; t < to; ++t) {
      const float* x = block_of(rows + t * stride, cols, k, padded);
      if (grain == Grain::f32) {
        auto& tile = *reinterpret_cast<FloatTile<T>*>(out);
        for (int i = 0; i < kBlock; ++i) tile.x[i][t] = x[i];
      } else {
        QuantBlock block, rest;
        auto& tile = *reinterpret_cast<QuantTile<T>*>(out);
        tile.rest[t] = round_block(grain, x, threshold[t], block, rest);
        place(block, grain, t, tile);
        if (tile.rest[t]) place(rest, grain, 0, reinterpret_cast<QuantTile<1>*>(rests)[t]);
      }
    }
  }
}

void prepare(Grain grain, const float* x, int64_t stride, int tokens, int cols, int first, int count,
             std::byte* out) {
  const int64_t bytes = token_bytes(grain), block_stride = bytes * tokens;
  const int64_t to_rests = grain == Grain::f32 ? 0 : block_stride * blocks_of(cols);
  const int last = first + count, group = first / kTokenGroup * kTokenGroup;
  const int end = std::min(tokens, (last + kTokenGroup - 1) / kTokenGroup * kTokenGroup);
  for_each_tile(group, end, [&](auto T, int t) MINKE_INLINED {
    const int from = std::max(first - t, 0), to = std::min(last - t, +T);
    if (from >= to) return;
    std::byte* at = out + t * bytes;
    prepare_tile<T>(grain, x + t * stride, stride, cols, block_stride, at, at + to_rests, from, to);
  });
}

}  // namespace

void MINKE_FILL(operand)(Kernels& table) { table.prepare = prepare; }

}  // namespace minke
