#pragma once
// How products walk the rows and blocks of a matrix: along some rows at a time, then down.

#include <algorithm>
#include <cstring>

#include "kernels/operand.h"
#include "kernels/simd.h"

namespace minke {
namespace {

struct Walk {
  const std::byte* base;  // the first row's block, or the copy's
  int64_t stride;
};

// Rows [first, first + rows) of block bytes at `offset`: in place where 16 are there, else copied to `copy`
// with zeros after them.
MINKE_INLINE Walk rows_at(const Mat& w, int first, int rows, int64_t offset, int64_t bytes, std::byte* copy) {
  const std::byte* base = w.row(first) + offset;
  if (rows >= kPanel) return {base, w.row_bytes};
  for (int r = 0; r < kPanel; ++r) {
    std::byte* to = copy + r * bytes;
    if (r < rows)
      std::memcpy(to, base + r * w.row_bytes, static_cast<size_t>(bytes));
    else
      std::memset(to, 0, static_cast<size_t>(bytes));
  }
  return {copy, bytes};
}

// Prefetches what a walk of kRows rows at a time reads kBlocks blocks from here, in its rows [from, to).
template <int kRows, int kBlocks, int kLocality>
MINKE_INLINE void prefetch_block(const Mat& w, int first, int block, int64_t bytes, int from, int to) {
  const int blocks = blocks_of(w.cols);
  int row = first, at = block + kBlocks;
  while (at >= blocks) {
    at -= blocks;
    row += kRows;
  }
  if (row + kRows > w.rows) return;
  const std::byte* p = w.row(row + from) + at * bytes;
  for (int r = from; r < to; ++r, p += w.row_bytes)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(p + b, 0, kLocality);
}

// From memory into L2 what is read some time from now, and from there into L1 what is read soon. Without the
// second step decode of a Q4_K model was at 72 % of the read limit, with it at 81 %; straight into L1 from
// memory it was slower than without any.
template <int kRows>
MINKE_INLINE void prefetch_ahead(const Mat& w, int first, int block, int64_t bytes, int from, int to) {
  prefetch_block<kRows, 12 * kPanel / kRows, 2>(w, first, block, bytes, from, to);
  prefetch_block<kRows, 2, 3>(w, first, block, bytes, from, to);
}

}  // namespace
}  // namespace minke
