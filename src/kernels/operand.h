#pragma once
// The memory layout of an Operand, shared by the kernels that write it and those that read it.

#include <cstdint>

#include "kernels/kernels.h"

namespace minke {

constexpr int kBlock = kOperandBlock;

// One block of T tokens as int8. Weights are multiplied as codes (value = code - offset), mostly unsigned
// ones; the sums are what takes the offset off again, and what minima are multiplied by.
template <int T>
struct QuantTile {
  int8_t q[kBlock / 4][T][4];
  int32_t sum[8][T];  // of q over 32 columns
  // per_256: the value is q * step * scale[0]
  int32_t step[8][T];            // 1 .. 8
  int16_t steps_sum16[8][T][2];  // step * sum over 16, in pairs of neighbouring 16s
  int16_t steps_sum[4][T][2];    // step * sum over 32, in pairs of neighbouring 32s
  // per_32: the value is q * scale[i]
  float scale[8][T];
  float scaled_sum[8][T];  // scale * sum over 32
  // Bit i: what rounding left over of these 32 columns is in the token's rest (rest_of).
  uint32_t rest[T];
};

template <int T>
struct FloatTile {
  float x[kBlock][T];
};

constexpr int64_t kQuantTokenBytes = sizeof(QuantTile<1>), kFloatTokenBytes = sizeof(FloatTile<1>);
static_assert(sizeof(QuantTile<8>) == 8 * kQuantTokenBytes && sizeof(FloatTile<8>) == 8 * kFloatTokenBytes);

constexpr int64_t token_bytes(Grain grain) {
  return grain == Grain::f32 ? kFloatTokenBytes : kQuantTokenBytes;
}
constexpr int blocks_of(int cols) { return (cols + kBlock - 1) / kBlock; }
// Behind all tiles, block by block: a tile of one for each token with what rounding left over of it. Only the
// 32s it names are not zero. Rests are few, so tokens meet them one by one.
inline const QuantTile<1>* rests_of(const Operand& x, int block) {
  return reinterpret_cast<const QuantTile<1>*>(x.data + kQuantTokenBytes * x.tokens *
                                                            (int64_t{blocks_of(x.cols)} + block));
}

}  // namespace minke
