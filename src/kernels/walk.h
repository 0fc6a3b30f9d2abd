#pragma once
// How products walk the rows and blocks of a matrix: along some rows at a time, then down.

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "kernels/operand.h"
#include "kernels/rows.h"

namespace minke {
namespace {

// Rows [first, first + rows) of block bytes at `offset`: in place where 16 are there, else copied to `copy`
// with zeros after them.
MINKE_INLINE Walk rows_at(const Mat& w, int first, int rows, int64_t offset, int64_t bytes, std::byte* copy) {
  const std::byte* base = w.row(first) + offset;
  if (rows >= kPanel) return {SixteenRows(base, w.row_bytes)};
  for (int r = 0; r < kPanel; ++r) {
    std::byte* to = copy + r * bytes;
    if (r < rows)
      std::memcpy(to, base + r * w.row_bytes, static_cast<size_t>(bytes));
    else
      std::memset(to, 0, static_cast<size_t>(bytes));
  }
  return {SixteenRows(copy, bytes)};
}

// So many blocks on, along the rows and then down kRows at a time; null where there are no more such rows.
// `bytes`: of a block of one row.
template <int kRows>
MINKE_INLINE const std::byte* place_ahead(const Mat& w, int first, int block, int more, int64_t bytes) {
  const int blocks = blocks_of(w.cols);
  int row = first, at = block + more;
  for (; at >= blocks; at -= blocks) row += kRows;
  return row + kRows > w.rows ? nullptr : w.row(row) + at * bytes;
}

// This block's share of some rows that follow, at least as far away as it takes to bring them from memory.
// Rows are neighbours there, so a share is kRows * bytes one after the other: asked for in the order in which
// they would be read, along each row, they came 7 % more slowly. Null as above.
template <int kRows, int kFar = 12 * kPanel / kRows>  // blocks
MINKE_INLINE const std::byte* share_ahead(const Mat& w, int first, int block, int64_t bytes) {
  const int blocks = blocks_of(w.cols);
  int row = first;
  for (int at = 0; at < kFar; at += blocks) row += kRows;
  return row + kRows > w.rows ? nullptr : w.row(row) + block * kRows * bytes;
}

// Prefetches what a walk of kRows rows at a time reads kBlocks blocks from here into L1, in its rows [from,
// to).
template <int kRows, int kBlocks>
MINKE_INLINE void prefetch_block(const Mat& w, int first, int block, int64_t bytes, int from, int to) {
  const std::byte* p = place_ahead<kRows>(w, first, block, kBlocks, bytes);
  if (!p) return;
  p += from * w.row_bytes;
  for (int r = from; r < to; ++r, p += w.row_bytes)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(p + b, 0, 3);
}

// From memory into L2 what is read some time from now, and from there into L1 what is read kSoon blocks from
// now. Without the second step decode of a Q4_K model was at 72 % of the read limit, with it at 81 %;
// straight into L1 from memory it was slower than without any.
template <int kRows, int kSoon>
MINKE_INLINE void prefetch_ahead(const Mat& w, int first, int block, int64_t bytes, int from, int to) {
  if (const std::byte* far = share_ahead<kRows>(w, first, block, bytes))
    for (int64_t b = from * bytes; b < to * bytes; b += 64) __builtin_prefetch(far + b, 0, 2);
  prefetch_block<kRows, kSoon>(w, first, block, bytes, from, to);
}

// The panel that is read after panel p of `panels` at a block of w.
struct NextPanel {
  int row, block;
};
inline NextPanel next_panel(const Mat& w, int first_row, int rows, int block, int p, int panels) {
  if (p + 1 < panels) return {first_row + (p + 1) * kPanel, block};
  if (block + 1 < blocks_of(w.cols)) return {first_row, block + 1};
  return {first_row + rows, 0};
}

// Beside tile i of n that a panel meets, ask(from, to) for that tile's share of the next one's sixteen rows,
// into L1. Beside the last tiles only where there are many, since the tokens' bytes would push it out again.
template <typename Ask>
MINKE_INLINE void prefetch_beside(int i, int n, const Ask& ask) {
  if (n > kPanel) i -= n - kPanel;
  if (i < 0) return;
  const int parts = std::min(n, kPanel);
  ask(kPanel * i / parts, kPanel * (i + 1) / parts);
}

// Tokens of products that meet panels: so many, or many more.
constexpr int kPanelTokens = 16;

// What a walk asks for beside a block: what it will read much later (into L2; null for nothing), and soon
// (into L1). Worked out once for a block, so that asking for a few of its lines is little more than doing so.
//
// Processors that follow rows by themselves are asked for one of both where tokens are few: on Cascade Lake
// that was 6 to 20 % faster. For what is soon; but the beginnings of short rows they find too late, so there
// for a share of the next rows, as far ones are asked for.
struct Ahead {
  const std::byte *far, *near;
  int64_t stride;  // of rows at `near`; what is far lies in one piece
};

// Rows that end within 4 KiB, beyond which prefetchers do not look.
MINKE_INLINE bool is_short(const Mat& w) { return w.row_bytes < 4096; }

// The two ways in which a matrix can lie. at(w, first, rows, block, bytes, copy) is 16 rows at a block of 256
// columns, of which `bytes` of each row are there. ahead<N>(w, first, block) is for products with N tokens;
// ask<N>(ahead, from, to) prefetches what sixteenths [from, to) of a block are worth, ask_group<N>(ahead, i)
// what group i of 32 columns is. Panels, who meet many tokens at each block, have L1 filled beside those:
// ask_near(w, first, block, from, to).
template <typename F>
struct AsFiled {
  static constexpr int kStep = F::kIntegerScales ? F::kBytes : F::kBytes * 8;  // bytes of 256 columns
  static MINKE_INLINE Walk at(const Mat& w, int first, int rows, int block, int64_t bytes, std::byte* copy) {
    return rows_at(w, first, rows, int64_t{block} * kStep, bytes, copy);
  }
  // What is soon in L1 leaves room there for tokens, and for the block itself: eight rows of Q6_K were 8 %
  // faster with one block than with two, a single one of Q8_0 15 %.
  template <int N>
  static constexpr int kSoon = N == 1 && kPanel * kStep <= 4096 ? 2 : 1;
  template <int N>
  static MINKE_INLINE Ahead ahead(const Mat& w, int first, int block) {
    // Where there are no more rows, the block itself.
    const std::byte* here = w.row(first) + int64_t{block} * kStep;
    const auto or_here = [&](const std::byte* p) MINKE_INLINED { return p ? p : here; };
    if (N < kPanelTokens && kFollowsRows) {
      if (is_short(w)) return {nullptr, or_here(share_ahead<kPanel, 1>(w, first, block, kStep)), kStep};
      return {nullptr, or_here(place_ahead<kPanel>(w, first, block, 2, kStep)), w.row_bytes};
    }
    return {or_here(share_ahead<kPanel>(w, first, block, kStep)),
            or_here(place_ahead<kPanel>(w, first, block, kSoon<N>, kStep)), w.row_bytes};
  }
  template <int N>
  static MINKE_INLINE void ask(const Ahead& a, int from, int to) {
    // One after the other: taken together, a row of Q6_K was 5 to 10 % slower.
    if (a.far)
#pragma GCC unroll 1
      for (int b = from * kStep; b < to * kStep; b += 64) __builtin_prefetch(a.far + b, 0, 2);
    if (N >= kPanelTokens) return;
    const std::byte* near = a.near + from * a.stride;
#pragma GCC unroll 1
    for (int r = from; r < to; ++r, near += a.stride)
      for (int b = 0; b < kStep; b += 64) __builtin_prefetch(near + b, 0, 3);
  }
  // In straight code: loops over a few lines were a sixth of all instructions.
  template <int N>
  static MINKE_INLINE void ask_group(const Ahead& a, int i) {
    if (a.far)
      unroll<(2 * kStep + 63) / 64>(
          [&](auto b) MINKE_INLINED { __builtin_prefetch(a.far + 2 * kStep * i + 64 * b, 0, 2); });
    const std::byte* near = a.near + 2 * i * a.stride;
    unroll<2>([&](auto r) MINKE_INLINED {
      unroll<(kStep + 63) / 64>(
          [&](auto b) MINKE_INLINED { __builtin_prefetch(near + r * a.stride + 64 * b, 0, 3); });
    });
  }
  static MINKE_INLINE void ask_near(const Mat& w, int first, int block, int from, int to) {
    prefetch_block<kPanel, 0>(w, first, block, kStep, from, to);
  }
};

// Matrices of interleaved rows have no groups of fewer than 16, and are read from one end to the other.
template <typename F>
struct AsInterleaved {
  static constexpr int kStep = AsFiled<F>::kStep;
  static MINKE_INLINE const std::byte* block_at(const Mat& w, int first, int block) {
    return w.row(first) + int64_t{kPanel} * kStep * block;
  }
  static MINKE_INLINE Interleaved<F::kFormat> at(const Mat& w, int first, int, int block, int64_t,
                                                 std::byte*) {
    return {block_at(w, first, block)};
  }
  template <int N>
  static MINKE_INLINE Ahead ahead(const Mat& w, int first, int block) {
    return {block_at(w, first, block) + (N <= 2 ? 4096 : 8192), nullptr, 0};
  }
  // Straight into L1, one row was 7 % faster and eight rows of Q6_K 35 % slower.
  template <int N>
  static MINKE_INLINE void ask(const Ahead& a, int from, int to) {
    for (int b = from * kStep; b < to * kStep; b += 64) __builtin_prefetch(a.far + b, 0, N <= 2 ? 3 : 2);
  }
  template <int N>
  static MINKE_INLINE void ask_group(const Ahead& a, int i) {
    ask<N>(a, 2 * i, 2 * i + 2);
  }
  static MINKE_INLINE void ask_near(const Mat& w, int first, int block, int from, int to) {
    const std::byte* p = block_at(w, first, block);
    for (int b = from * kStep; b < to * kStep; b += 64) __builtin_prefetch(p + b, 0, 3);
  }
};

}  // namespace
}  // namespace minke
