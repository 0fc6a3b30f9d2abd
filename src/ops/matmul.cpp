#include "ops/matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/memory.h"

namespace minke {
namespace {

constexpr int kMaxWords = 1024;  // of a panel that is multiplied at once
constexpr int64_t kPackedBytes =
    8 << 20;  // of packed lanes, so that they are still in the cache when they meet
constexpr int64_t kSmallBytes = 640 << 10;  // of both operands of a product that one thread takes as a whole
constexpr int64_t kPieceBytes = 256 << 10;  // of each operand that a piece of work keeps in the L2 cache
constexpr int kPieceLanes = 240;            // of each operand at most, a multiple of 48
constexpr int kPackPanels = 8;              // packed in one piece of work
constexpr int64_t kAloneMultiplies = 1 << 16;  // no more than that is not worth waking anybody

// Lanes of an operand, and their panels.
struct Lanes {
  DenseSource source;
  std::byte* packed = nullptr;
  int64_t panel_bytes = 0;
  bool pack = true;  // else they are packed already

  int panels() const { return (source.lanes + kDenseLanes - 1) / kDenseLanes; }
  int64_t bytes() const { return panels() * panel_bytes; }
  Lanes part(int first, int count) const {
    Lanes p = *this;
    p.source.data += first * (source.adjacent ? 1 : source.stride);
    p.source.lanes = count;
    return p;
  }
};

// The operand of numbers [first, first + depth) of a sum. Panels are a line apart from each other, since many
// are read at once, which must not meet in one set of the cache.
Lanes lanes_of(const Kernels& kernels, Precision precision, const MatrixView& m, bool right, int first,
               int depth) {
  const bool bf16 = precision == Precision::bf16, adjacent = m.transposed != right;
  const int64_t at = first * (adjacent ? m.stride : 1);
  const DenseSource source{m.data + at, m.stride, adjacent, right ? m.cols : m.rows, depth, bf16};
  return {source, nullptr, (kernels.dense_words(bf16, depth) + 1) * int64_t{kDenseLanes} * 4};
}

// Packed lanes meet packed lanes.
struct Meeting {
  Lanes left, right;
  float* out;
  int64_t stride;
  bool add;

  int64_t multiplies() const { return int64_t{left.source.lanes} * right.source.lanes * left.source.depth; }
};

// How a meeting is cut into pieces that threads claim.
struct Pieces {
  int rows = 0, cols = 0;  // lanes of a piece
  int row_pieces = 0, col_pieces = 0;
  int64_t count() const { return int64_t{row_pieces} * col_pieces; }
};

int round_up(int64_t n, int multiple) { return static_cast<int>((n + multiple - 1) / multiple * multiple); }

Pieces pieces_of(const Meeting& m, int64_t wanted) {
  const int fit = static_cast<int>(kPieceBytes / (m.left.panel_bytes / kDenseLanes)) / 48 * 48;
  const int most = std::clamp(fit, 48, kPieceLanes);
  Pieces p;
  const auto cut = [&] {
    p.row_pieces = (m.left.source.lanes + p.rows - 1) / p.rows;
    p.col_pieces = (m.right.source.lanes + p.cols - 1) / p.cols;
  };
  p.rows = std::clamp(round_up(m.left.source.lanes, kDenseLanes), kDenseLanes, most);
  p.cols = std::clamp(round_up(m.right.source.lanes, kDenseLanes), kDenseLanes, most);
  cut();
  while (p.count() < wanted && (p.rows > 16 || p.cols > 48)) {
    int& larger = p.rows > 16 && (p.rows >= p.cols || p.cols <= 48) ? p.rows : p.cols;
    const int multiple = &larger == &p.rows ? 16 : 48;
    larger = round_up(larger / 2, multiple);
    cut();
  }
  return p;
}

// Rows [i, i + rows) and columns [j, j + cols) of a meeting; i and j are multiples of kDenseLanes.
void multiply_block(const Context& ctx, const Meeting& m, int i, int rows, int j, int cols) {
  DenseBlock block;
  block.a = m.left.packed + i / kDenseLanes * m.left.panel_bytes;
  block.b = m.right.packed + j / kDenseLanes * m.right.panel_bytes;
  block.a_panel = m.left.panel_bytes;
  block.b_panel = m.right.panel_bytes;
  block.words = ctx.kernels.dense_words(m.left.source.bf16, m.left.source.depth);
  block.rows = rows;
  block.cols = cols;
  block.bf16 = m.left.source.bf16;
  block.out = m.out + i * m.stride + j;
  block.stride = m.stride;
  block.add = m.add;
  ctx.kernels.dense_multiply(block);
}

// f(item, piece of it) for all pieces of all items; ends[i] is how many the items up to i have.
template <typename F>
void for_each_piece(const Context& ctx, const std::vector<int64_t>& ends, bool alone, const F& f) {
  const auto work = [&](int64_t piece, int64_t, int) {
    const auto item = std::upper_bound(ends.begin(), ends.end(), piece) - ends.begin();
    f(static_cast<size_t>(item), item == 0 ? piece : piece - ends[static_cast<size_t>(item) - 1]);
  };
  const int64_t count = ends.empty() ? 0 : ends.back();
  if (!alone) return ctx.pool.for_each(count, 1, work);
  for (int64_t piece = 0; piece < count; ++piece) work(piece, piece + 1, 0);
}

// All threads pack, then all multiply.
void run(const Context& ctx, std::span<const Meeting> meetings) {
  int64_t multiplies = 0, panels = 0;
  for (const Meeting& m : meetings) {
    multiplies += m.multiplies();
    for (const Lanes* l : {&m.left, &m.right}) panels += l->pack ? l->panels() : 0;
  }
  const bool alone = multiplies <= kAloneMultiplies;
  const int group =
      static_cast<int>(std::clamp<int64_t>(panels / (int64_t{ctx.pool.size()} * 4), 1, kPackPanels));
  std::vector<int64_t> ends;
  std::vector<Pieces> pieces;
  for (const Meeting& m : meetings)
    for (const Lanes* l : {&m.left, &m.right})
      ends.push_back((ends.empty() ? 0 : ends.back()) + (l->pack ? (l->panels() + group - 1) / group : 0));
  for_each_piece(ctx, ends, alone, [&](size_t item, int64_t piece) {
    const Lanes& l = item % 2 ? meetings[item / 2].right : meetings[item / 2].left;
    const int first = static_cast<int>(piece) * group * kDenseLanes;
    const int count = std::min(group * kDenseLanes, l.source.lanes - first);
    ctx.kernels.dense_pack(l.part(first, count).source, l.packed + piece * group * l.panel_bytes,
                           l.panel_bytes);
  });

  ends.clear();
  const int64_t wanted = int64_t{ctx.pool.size()} * 8;
  for (const Meeting& m : meetings) {
    pieces.push_back(
        pieces_of(m, std::max<int64_t>(1, wanted * m.multiplies() / std::max<int64_t>(1, multiplies))));
    ends.push_back((ends.empty() ? 0 : ends.back()) + pieces.back().count());
  }
  for_each_piece(ctx, ends, alone, [&](size_t item, int64_t piece) {
    const Meeting& m = meetings[item];
    const Pieces& p = pieces[item];
    const int i = static_cast<int>(piece % p.row_pieces) * p.rows,
              j = static_cast<int>(piece / p.row_pieces) * p.cols;
    multiply_block(ctx, m, i, std::min(p.rows, m.left.source.lanes - i), j,
                   std::min(p.cols, m.right.source.lanes - j));
  });
}

std::byte* packed_memory(int64_t bytes) {
  thread_local Memory memory;
  if (memory.size() < bytes) {
    memory = {};  // before there is more
    memory = Memory(std::max(bytes, 2 * kPackedBytes), "packed operands");
  }
  return memory.data();
}

// A product of any size: the smaller operand is packed whole, the larger one part by part.
void run_large(const Context& ctx, Precision precision, const MatrixProduct& p) {
  const int words = ctx.kernels.dense_words(precision == Precision::bf16, p.a.cols);
  const int chunks = std::max(1, (words + kMaxWords - 1) / kMaxWords);
  const int depth = std::max(2, round_up((p.a.cols + chunks - 1) / chunks, 2));
  for (int k = 0; k == 0 || k < p.a.cols; k += depth) {
    const int here = std::min(depth, p.a.cols - k);
    Meeting m{lanes_of(ctx.kernels, precision, p.a, false, k, here),
              lanes_of(ctx.kernels, precision, p.b, true, k, here), p.out, p.stride, p.add || k > 0};
    const bool left_larger = m.left.source.lanes > m.right.source.lanes;
    Lanes &larger = left_larger ? m.left : m.right, &smaller = left_larger ? m.right : m.left;
    const int step = std::max(kDenseLanes, static_cast<int>(kPackedBytes / larger.panel_bytes) * kDenseLanes);
    const int parts = (larger.source.lanes + step - 1) / step, lanes = larger.source.lanes;
    const int part = parts == 0 ? 1 : round_up((lanes + parts - 1) / parts, 48);
    smaller.packed =
        packed_memory(smaller.bytes() + round_up(part, kDenseLanes) / kDenseLanes * larger.panel_bytes);
    larger.packed = smaller.packed + smaller.bytes();
    const Lanes whole = larger;
    for (int first = 0; first < lanes; first += part) {
      larger = whole.part(first, std::min(part, lanes - first));
      m.out = p.out + first * (left_larger ? p.stride : 1);
      run(ctx, std::span(&m, 1));
      smaller.pack = false;
    }
  }
}

// Many small products, each from packing to sums by one thread, in its own cache.
void run_each(const Context& ctx, std::span<Meeting> meetings) {
  ctx.pool.for_each(static_cast<int64_t>(meetings.size()), 1, [&](int64_t i, int64_t, int) {
    Meeting& m = meetings[static_cast<size_t>(i)];
    m.left.packed = packed_memory(m.left.bytes() + m.right.bytes());
    m.right.packed = m.left.packed + m.left.bytes();
    for (const Lanes* l : {&m.left, &m.right}) ctx.kernels.dense_pack(l->source, l->packed, l->panel_bytes);
    multiply_block(ctx, m, 0, m.left.source.lanes, 0, m.right.source.lanes);
  });
}

// Products that lie packed in memory together.
void run_together(const Context& ctx, std::span<Meeting> meetings) {
  int64_t bytes = 0;
  for (const Meeting& m : meetings) bytes += m.left.bytes() + m.right.bytes();
  std::byte* at = packed_memory(bytes);
  for (Meeting& m : meetings) {
    for (Lanes* l : {&m.left, &m.right}) {
      l->packed = at;
      at += l->bytes();
    }
  }
  run(ctx, meetings);
}

}  // namespace

void matmul(const Context& ctx, Precision precision, std::span<const MatrixProduct> products) {
  std::vector<Meeting> small, medium;
  int64_t bytes = 0;  // of medium ones
  for (const MatrixProduct& p : products) {
    MINKE_CHECK(p.a.cols == p.b.rows, "[{}][{}] times [{}][{}]", p.a.rows, p.a.cols, p.b.rows, p.b.cols);
    const Meeting m{lanes_of(ctx.kernels, precision, p.a, false, 0, p.a.cols),
                    lanes_of(ctx.kernels, precision, p.b, true, 0, p.a.cols), p.out, p.stride, p.add};
    const int64_t here = m.left.bytes() + m.right.bytes();
    if (ctx.kernels.dense_words(precision == Precision::bf16, p.a.cols) > kMaxWords || here > kPackedBytes) {
      run_large(ctx, precision, p);
    } else if (here <= kSmallBytes) {
      small.push_back(m);
    } else {
      if (bytes + here > 2 * kPackedBytes) {
        run_together(ctx, medium);
        medium.clear();
        bytes = 0;
      }
      medium.push_back(m);
      bytes += here;
    }
  }
  if (small.size() >= 4 * static_cast<size_t>(ctx.pool.size())) {
    run_each(ctx, small);
  } else {
    medium.insert(medium.end(), small.begin(), small.end());
  }
  if (!medium.empty()) run_together(ctx, medium);
}

void matmul(const Context& ctx, Precision precision, const MatrixView& a, const MatrixView& b, float* out,
            int64_t stride, bool add) {
  const MatrixProduct product{a, b, out, stride, add};
  matmul(ctx, precision, std::span(&product, 1));
}

}  // namespace minke
