#pragma once
// The memory layout of an Operand, shared by the kernels that write it and those that read it.

#include <cstdint>

#include "kernels/kernels.h"

namespace minke {

constexpr int kBlock = kOperandBlock;

// What products need to know of one token's block beside its bytes. Weights are multiplied as codes (value =
// code - offset), mostly unsigned ones; the sums are what takes the offset off again, and what minima are
// multiplied by.
struct TokenBlock {
  // Lines of 64 bytes, by what formats need beside each other. Of every one, most of all those of integer
  // scales:
  float scale;
  // Bit i: what rounding left over of 32 columns is in the token's rest (rests_of).
  uint32_t rest;
  int16_t steps_sum[4][2];  // step * the sum over 32, in pairs of neighbouring 32s
  int16_t steps[4][2];      // 1 .. 8, in the same pairs: a value is q * step * scale
  uint8_t row[8];           // where the row of step is in a table of steps, in kRowUnit (tile_products.h)
  // What products of 32 columns with codes of 0 and 1 can reach at most, in kReachUnit; and of either of
  // their 16s with codes of -1 to 1.
  // Not set without kPairSums.
  uint8_t reach32[8], reach16[8];
  int16_t steps_sum16[8][2];  // step * the sum over 16, in pairs of neighbouring 16s
  int32_t step[8];            // steps once more
  int32_t below16[16];        // -32 times the sum of q over 16 columns: 32 is Q6_K's offset
  // Of f32 scales:
  float f32_step[8];   // steps once more
  float step_sum[8];   // step * the sum over 32
  int32_t below32[8];  // -16 times the sum of q over 32 columns: offsets are 8, 16 and 128
  int32_t wide32[8];   // -128 times
};
static_assert(sizeof(TokenBlock) % 64 == 0);

constexpr int kReachUnit = 16;  // so that 32 * 127 fits a byte
constexpr int kStepRow = 64;    // bytes of sixteen rows' multiples of a step
constexpr int kRowUnit = 8;     // so that they fit a byte, and addresses take them as they are
constexpr int kBelow16 = 32, kBelow32 = 16, kWide32 = 128;  // as many times as below16, below32, wide32 hold

// One block of T tokens as int8.
template <int T>
struct QuantTile {
  int8_t q[kBlock / 4][T][4];
  TokenBlock token[T];
};

template <int T>
struct FloatTile {
  float x[kBlock][T];
};

// In bf16, columns 2 i and 2 i + 1 of each token together.
template <int T>
struct PairTile {
  uint16_t x[kBlock / 2][T][2];
};

constexpr int64_t kQuantTokenBytes = sizeof(QuantTile<1>), kFloatTokenBytes = sizeof(FloatTile<1>),
                  kPairTokenBytes = sizeof(PairTile<1>);
static_assert(sizeof(QuantTile<8>) == 8 * kQuantTokenBytes && sizeof(FloatTile<8>) == 8 * kFloatTokenBytes);

// A token's bytes in its tile. pairs: numbers rounded to bf16 lie in pairs, as they do where such are
// multiplied (kBf16Dots); else as f32.
constexpr int64_t token_bytes(Grain grain, bool pairs) {
  if (grain == Grain::int8) return kQuantTokenBytes;
  return grain == Grain::bf16 && pairs ? kPairTokenBytes : kFloatTokenBytes;
}
constexpr int blocks_of(int cols) { return (cols + kBlock - 1) / kBlock; }
// Behind all tiles, block by block: a tile of one for each token with what rounding left over of it. Only the
// 32s it names are not zero. Rests are few, so tokens meet them one by one.
inline const QuantTile<1>* rests_of(const Operand& x, int block) {
  return reinterpret_cast<const QuantTile<1>*>(x.data + kQuantTokenBytes * x.tokens *
                                                            (int64_t{blocks_of(x.cols)} + block));
}

}  // namespace minke
