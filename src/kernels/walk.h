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

constexpr int kAhead = 8 * kPanel;  // blocks read ahead, over all rows of a step

// Prefetches what a walk of kRows rows at a time reads kAhead blocks from here, in its rows [from, to): into
// L2, since bursts into L1 were measured to cost more than they bring.
template <int kRows>
MINKE_INLINE void prefetch_ahead(const Mat& w, int first, int block, int64_t bytes, int from, int to) {
  const int blocks = blocks_of(w.cols);
  int row = first, at = block + kAhead / kRows;
  while (at >= blocks) {
    at -= blocks;
    row += kRows;
  }
  if (row + kRows > w.rows) return;
  const std::byte* p = w.row(row + from) + at * bytes;
  for (int r = from; r < to; ++r, p += w.row_bytes)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(p + b, 0, 2);
}

}  // namespace
}  // namespace minke
