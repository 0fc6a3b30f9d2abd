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

int round_up(int64_t n, int multiple) { return static_cast<int>((n + multiple - 1) / multiple * multiple); }

// Lanes of an operand, and their panels.
struct Lanes {
  DenseSource source;
  std::byte* packed = nullptr;
  int64_t panel_bytes = 0;
  int words = 0;     // of a panel that are multiplied
  bool pack = true;  // else they are packed already

  int panels() const { return (source.lanes + kDenseLanes - 1) / kDenseLanes; }
  int64_t bytes() const { return pack ? panels() * panel_bytes : 0; }  // that packing takes
  // Lanes [first, first + count); first is a multiple of kDenseLanes.
  Lanes part(int first, int count) const {
    Lanes p = *this;
    p.source.lanes = count;
    if (pack)
      p.source.data += first * (source.adjacent ? 1 : source.stride);
    else
      p.packed += first / kDenseLanes * panel_bytes;
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
  const int words = kernels.dense_words(bf16, depth);
  return {source, nullptr, (words + 1) * int64_t{kDenseLanes} * 4, words};
}

// The same of a packed matrix, its first `cols` columns. `first` is even.
Lanes lanes_of(const Kernels& kernels, const PackedMatrix& m, int cols, int first, int depth) {
  const bool bf16 = m.precision == Precision::bf16;
  const DenseSource source{nullptr, 0, false, cols, depth, bf16};
  const int64_t before = int64_t{kernels.dense_words(bf16, first)} * kDenseLanes * 4;
  // It is only read.
  return {source, const_cast<std::byte*>(m.data) + before, m.panel_bytes, kernels.dense_words(bf16, depth),
          false};
}

// Packed lanes meet packed lanes.
struct Meeting {
  Lanes left, right;
  float* out;
  int64_t stride;
  bool add;  // to what out holds

  int64_t multiplies() const { return int64_t{left.source.lanes} * right.source.lanes * left.source.depth; }
};

// Of a product, what numbers [first, first + depth) of every sum give: added to those before them.
Meeting meeting_of(const Kernels& kernels, Precision precision, const MatrixProduct& p, int first,
                   int depth) {
  return {lanes_of(kernels, precision, p.a, false, first, depth),
          p.packed ? lanes_of(kernels, *p.packed, p.b.cols, first, depth)
                   : lanes_of(kernels, precision, p.b, true, first, depth),
          p.out, p.stride, p.add || first > 0};
}

// f(first, depth) for the parts of every sum that are multiplied at once.
template <typename F>
void for_each_depth(const Kernels& kernels, Precision precision, int depth, const F& f) {
  const int words = kernels.dense_words(precision == Precision::bf16, depth);
  const int parts = std::max(1, (words + kMaxWords - 1) / kMaxWords);
  const int part = std::max(2, round_up((depth + parts - 1) / parts, 2));
  for (int k = 0; k == 0 || k < depth; k += part) f(k, std::min(part, depth - k));
}

void check(Precision precision, const MatrixProduct& p) {
  MINKE_CHECK(p.a.cols == p.b.rows, "[{}][{}] times [{}][{}]", p.a.rows, p.a.cols, p.b.rows, p.b.cols);
  if (p.packed)
    MINKE_CHECK(p.packed->precision == precision && p.b.rows <= p.packed->rows && p.b.cols <= p.packed->cols);
}

// How a meeting is cut into pieces that threads claim.
struct Pieces {
  int rows = 0, cols = 0;  // lanes of a piece
  int row_pieces = 0, col_pieces = 0;
  int64_t count() const { return int64_t{row_pieces} * col_pieces; }
};

Pieces pieces_of(const Meeting& m, int64_t wanted) {
  const int fit = static_cast<int>(kPieceBytes / (4 * m.left.words + 4)) / 48 * 48;
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

void multiply_piece(const Kernels& kernels, const Meeting& m, const Pieces& p, int64_t piece) {
  const int i = static_cast<int>(piece % p.row_pieces) * p.rows,
            j = static_cast<int>(piece / p.row_pieces) * p.cols;
  DenseBlock block;
  block.a = m.left.packed + i / kDenseLanes * m.left.panel_bytes;
  block.b = m.right.packed + j / kDenseLanes * m.right.panel_bytes;
  block.a_panel = m.left.panel_bytes;
  block.b_panel = m.right.panel_bytes;
  block.words = m.left.words;
  block.rows = std::min(p.rows, m.left.source.lanes - i);
  block.cols = std::min(p.cols, m.right.source.lanes - j);
  block.bf16 = m.left.source.bf16;
  block.out = m.out + i * m.stride + j;
  block.stride = m.stride;
  block.add = m.add;
  kernels.dense_multiply(block);
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
    multiply_piece(ctx.kernels, meetings[item], pieces[item], piece);
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
  for_each_depth(ctx.kernels, precision, p.a.cols, [&](int k, int depth) {
    Meeting m = meeting_of(ctx.kernels, precision, p, k, depth);
    const bool left_larger = m.left.source.lanes > m.right.source.lanes;
    Lanes &larger = left_larger ? m.left : m.right, &smaller = left_larger ? m.right : m.left;
    const int step = std::max(kDenseLanes, static_cast<int>(kPackedBytes / larger.panel_bytes) * kDenseLanes);
    const int parts = (larger.source.lanes + step - 1) / step, lanes = larger.source.lanes;
    const int part = parts == 0 ? 1 : round_up((lanes + parts - 1) / parts, 48);
    const int64_t part_bytes = round_up(part, kDenseLanes) / kDenseLanes * larger.panel_bytes;
    std::byte* memory = packed_memory(smaller.bytes() + part_bytes);
    if (smaller.pack) smaller.packed = memory;
    if (larger.pack) larger.packed = memory + smaller.bytes();
    const Lanes whole = larger;
    for (int first = 0; first < lanes; first += part) {
      larger = whole.part(first, std::min(part, lanes - first));
      m.out = p.out + first * (left_larger ? p.stride : 1);
      run(ctx, std::span(&m, 1));
      smaller.pack = false;
    }
  });
}

// Gives what is to be packed its place from `at` on; returns what comes behind.
std::byte* lay_out(Meeting& m, std::byte* at) {
  for (Lanes* l : {&m.left, &m.right}) {
    if (!l->pack) continue;
    l->packed = at;
    at += l->bytes();
  }
  return at;
}

// On this thread, in its own memory.
void run_here(const Kernels& kernels, Meeting m) {
  lay_out(m, packed_memory(m.left.bytes() + m.right.bytes()));
  for (const Lanes* l : {&m.left, &m.right})
    if (l->pack) kernels.dense_pack(l->source, l->packed, l->panel_bytes);
  const Pieces p = pieces_of(m, 1);
  for (int64_t piece = 0; piece < p.count(); ++piece) multiply_piece(kernels, m, p, piece);
}

// Many small products, each from packing to sums by one thread.
void run_each(const Context& ctx, std::span<const Meeting> meetings) {
  ctx.pool.for_each(static_cast<int64_t>(meetings.size()), 1, [&](int64_t i, int64_t, int) {
    run_here(ctx.kernels, meetings[static_cast<size_t>(i)]);
  });
}

// Products that lie packed in memory together.
void run_together(const Context& ctx, std::span<Meeting> meetings) {
  int64_t bytes = 0;
  for (const Meeting& m : meetings) bytes += m.left.bytes() + m.right.bytes();
  std::byte* at = packed_memory(bytes);
  for (Meeting& m : meetings) at = lay_out(m, at);
  run(ctx, meetings);
}

}  // namespace

int64_t packed_bytes(int rows, int cols) {
  const int64_t panels = (int64_t{cols} + kDenseLanes - 1) / kDenseLanes;
  return panels * (int64_t{rows} + 2) * kDenseLanes * 4;  // a word has one number or two; then a line
}

PackedMatrix pack_here(const Kernels& kernels, Precision precision, const MatrixView& b, std::byte* memory) {
  const Lanes lanes = lanes_of(kernels, precision, b, true, 0, b.rows);
  MINKE_CHECK(lanes.bytes() <= packed_bytes(b.rows, b.cols));
  kernels.dense_pack(lanes.source, memory, lanes.panel_bytes);
  return {precision, b.rows, b.cols, memory, lanes.panel_bytes};
}

void matmul(const Context& ctx, Precision precision, std::span<const MatrixProduct> products) {
  std::vector<Meeting> small, medium;
  int64_t bytes = 0;  // of medium ones
  for (const MatrixProduct& p : products) {
    check(precision, p);
    const Meeting m = meeting_of(ctx.kernels, precision, p, 0, p.a.cols);
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

void matmul_here(const Kernels& kernels, Precision precision, const MatrixProduct& p) {
  check(precision, p);
  for_each_depth(kernels, precision, p.a.cols, [&](int first, int depth) {
    run_here(kernels, meeting_of(kernels, precision, p, first, depth));
  });
}

}  // namespace minke
