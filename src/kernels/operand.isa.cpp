// Activations into the layout products read (operand.h): rounded to int8 per 32 or 256 columns, or kept as
// f32.

#include "kernels/operand.h"

#include <cstring>

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

// q = x * inverse to nearest even, for 32 values; returns through sum16 the two sums of 16.
MINKE_INLINE void round_32(const float* x, float inverse, int8_t* q, int32_t* sum16) {
  for (int h = 0; h < 2; ++h) {
    const Vi r = to_int(mul(load(x + 16 * h), set1(inverse)));
    store_i8(q + 16 * h, r);
    sum16[h] = sum(r);
  }
}

// A scale of which 127 makes `peak`; the inverse is 0 where the scale is.
MINKE_INLINE float inverse_of(float scale) { return scale > 0.0f ? 1.0f / scale : 0.0f; }

void round_block(Grain grain, const float* x, QuantBlock& b) {
  float peak[8], top = 0.0f;
  for (int i = 0; i < 8; ++i) {
    peak[i] = largest(max(abs(load(x + 32 * i)), abs(load(x + 32 * i + 16))));
    top = peak[i] > top ? peak[i] : top;
  }
  const float unit = top / (8.0f * 127.0f);  // per_256: the scale of one step
  for (int i = 0; i < 8; ++i) {
    if (grain == Grain::per_32) {
      b.step[i] = 0;
      b.scale[i] = peak[i] / 127.0f;
      round_32(x + 32 * i, inverse_of(b.scale[i]), b.q + 32 * i, b.sum16 + 2 * i);
    } else {
      int step = 1;  // the least that holds the peak
      while (step < 8 && unit * static_cast<float>(127 * step) < peak[i]) ++step;
      b.step[i] = step;
      b.scale[i] = unit;
      round_32(x + 32 * i, inverse_of(unit * static_cast<float>(step)), b.q + 32 * i, b.sum16 + 2 * i);
    }
  }
}

template <int T>
MINKE_INLINE void place(const QuantBlock& b, Grain grain, int t, QuantTile<T>& tile) {
  for (int k = 0; k < kBlock / 4; ++k) std::memcpy(tile.q[k][t], b.q + 4 * k, 4);
  for (int i = 0; i < 16; ++i) tile.start64_16[i][t] = -64 * b.sum16[i];
  for (int i = 0; i < 8; ++i) {
    const int32_t total = b.sum16[2 * i] + b.sum16[2 * i + 1];
    tile.start64[i][t] = -64 * total;
    tile.start128[i][t] = -128 * total;
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

// T tokens that share a tile; `rows` is the first one's, out the tile of block 0.
template <int T>
void prepare_tile(Grain grain, const float* rows, int64_t stride, int cols, int64_t block_stride,
                  std::byte* out) {
  float padded[kBlock];
  for (int k = 0; k < blocks_of(cols); ++k, out += block_stride) {
    for (int t = 0; t < T; ++t) {
      const float* x = block_of(rows + t * stride, cols, k, padded);
      if (grain == Grain::f32) {
        auto& tile = *reinterpret_cast<FloatTile<T>*>(out);
        for (int i = 0; i < kBlock; ++i) tile.x[i][t] = x[i];
      } else {
        QuantBlock block;
        round_block(grain, x, block);
        place(block, grain, t, *reinterpret_cast<QuantTile<T>*>(out));
      }
    }
  }
}

void prepare(Grain grain, const float* x, int64_t stride, int tokens, int cols, int first, int count,
             std::byte* out) {
  const int64_t bytes = token_bytes(grain), block_stride = bytes * tokens;
  for (int t = first; t < first + count;) {
    const float* rows = x + t * stride;
    std::byte* at = out + t * bytes;
    const int left = tokens - t;
    if (left >= kTokenTile) {
      prepare_tile<kTokenTile>(grain, rows, stride, cols, block_stride, at);
      t += kTokenTile;
      continue;
    }
    unroll<kTokenTile>([&](auto n) {
      if constexpr (n > 0)
        if (left == n) prepare_tile<n>(grain, rows, stride, cols, block_stride, at);
    });
    t += left;
  }
}

}  // namespace

void MINKE_FILL(operand)(Kernels& table) { table.prepare = prepare; }

}  // namespace minke
