#pragma once
// Weights in the order in which products of sixteen rows read them (--repack): the same bytes, so that they
// take the place of the rows themselves.
//
// Rows come in groups of 16, a group's blocks one after the other along the columns (of 256 columns or of 32,
// as the format has them). A block is taken as dwords, and halves where an f16 stands alone; the sixteen
// rows' dwords at the same offset stand together, at 16 * interleaved_at(format, offset) of the sixteen
// blocks.

#include "quant/mat.h"

namespace minke {

constexpr int kInterleavedRows = 16;

// Formats that have such an order; codebooks, which are looked up row by row, gain nothing.
constexpr bool interleaves(Format format) {
  switch (format) {
    case Format::q4_0:
    case Format::q4_1:
    case Format::q5_0:
    case Format::q5_1:
    case Format::q8_0:
    case Format::iq4_nl:
    case Format::q4_k:
    case Format::q5_k:
    case Format::q6_k: return true;
    default: return false;
  }
}

// In the order of the rows' own blocks, but for Q6_K, whose header stands last there and is read first, as is
// what goes on top of two halves of codes.
constexpr int interleaved_at(Format format, int offset) {
  if (format != Format::q6_k) return offset;
  constexpr int kHeader = 18, kPart = 48;  // 16 bytes of high bits, and the 32 of low ones under them
  if (offset >= 208) return offset - 208;
  if (offset >= 192) return offset - 192 + 2;
  if (offset >= 128) return kHeader + (offset - 128) / 16 * kPart + offset % 16;
  const int part = offset / 64 * 2 + offset / 16 % 2, half = offset / 32 % 2;
  return kHeader + part * kPart + 16 + 16 * half + offset % 16;
}

// Whether all of m's rows come in groups, and its format has the order.
bool can_interleave(const Mat& m);

// Puts the 16 rows at `rows`, which are of m's format and width, in that order in place. scratch: as many
// bytes.
void interleave_group(const Mat& m, std::byte* rows, std::byte* scratch);

// A block of a row of an interleaved matrix, back in its own order.
void gather_block(const Mat& m, int64_t row, int64_t block, std::byte* out);

}  // namespace minke
