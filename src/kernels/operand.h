#pragma once
// The memory layout of an Operand, shared by the kernels that write it and those that read it.

#include <cstdint>

#include "kernels/kernels.h"

namespace minke {

constexpr int kBlock = 256;  // columns

// One block of T tokens as int8. Sums are of the int8 values; a product starts from -offset * sum, so that
// weights can be multiplied as unsigned codes (value = code - offset).
template <int T>
struct QuantTile {
  int8_t q[kBlock / 4][T][4];
  int32_t start64_16[16][T];  // -64 * sum over 16 columns
  int32_t start64[8][T];      // -64 * sum over 32
  int32_t start128[8][T];     // -128 * sum over 32
  // per_256: the value is q * step / 8 * scale[0]
  int32_t step[8][T];            // 1 .. 8
  int16_t steps_sum16[8][T][2];  // step * sum over 16, in pairs of neighbouring 16s
  int16_t steps_sum[4][T][2];    // step * sum over 32, in pairs of neighbouring 32s
  // per_32: the value is q * scale[i]
  float scale[8][T];
  float scaled_sum[8][T];  // scale * sum over 32
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

}  // namespace minke
