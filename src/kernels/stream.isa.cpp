// One token, sixteen rows at a time: codes meet the token on their way out of the weights, in registers. What
// gemm would give, to the bit: integers within a block, then the same f32 steps in the same order. For
// instruction sets with 32 registers; AVX2 has its own way (gemv.isa.cpp), and the reference leaves it to
// gemm.

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar)

void minke::MINKE_FILL(gemv)(Kernels&) {}

#elif !defined(MINKE_ISA_avx2)

#include "kernels/unpack.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// Sums of one sub-block's codes times the token, and times its rest: codes of all eight bits as values.
template <typename F, bool kRest>
struct Dots {
  Vi sum, rest;
  MINKE_INLINE void clear(int32_t above, int32_t rest_above) {
    sum = set1(above);
    if constexpr (kRest) rest = set1(rest_above);
  }
  MINKE_INLINE void add(const QuantTile<1>& x, const QuantTile<1>& second, int k, Vi word) {
    if constexpr (F::kOffset == 128) {
      sum = dot_wide(sum, word, broadcast4(x.q[k][0]));
      if constexpr (kRest) rest = dot_wide(rest, word, broadcast4(second.q[k][0]));
    } else {
      sum = dot7(sum, word, broadcast4(x.q[k][0]));
      if constexpr (kRest) rest = dot7(rest, word, broadcast4(second.q[k][0]));
    }
  }
};

// What codes are above values, times the sum of 32 columns of the token: taken off at the start.
template <typename F>
MINKE_INLINE int32_t above(const QuantTile<1>& x, int i) {
  if constexpr (F::kOffset == 0 || (F::kOffset == 128 && kSignedCodes)) return 0;
  return -F::kOffset * x.sum[i][0];
}

// ---- 256 columns under integer scales

template <typename F, bool kRest>
struct IntegerBlock {
  static constexpr int kSubs = kBlock / F::kSub, kPerChunk = kSubs / F::kChunks;
  const QuantTile<1>& x;
  const QuantTile<1>& second;
  Vi scale[kSubs], min[kSubs / 2];
  Vf d, dmin;
  Dots<F, kRest> dots[kPerChunk];

  MINKE_INLINE void codes(int k, Vi word) { dots[k * 4 / F::kSub % kPerChunk].add(x, second, k, word); }
  MINKE_INLINE void set_scale(int i, Vi word) { scale[i] = word; }
  MINKE_INLINE void set_mins(int j, Vi word) { min[j] = word; }
  MINKE_INLINE void set_d(Vf v) { d = v; }
  MINKE_INLINE void set_dmin(Vf v) { dmin = v; }
};

// Sums of 16-bit pairs over sub-blocks: minima, or scales where codes are above values.
template <typename F, typename Pair>
MINKE_INLINE Vi over_pairs(const QuantTile<1>& x, Pair pair) {
  Vi sum = zero_i();
  unroll<kBlock / F::kSub / 2>([&](auto j) MINKE_INLINED {
    sum = dot16(sum, pair(j), broadcast4(F::kSub == 16 ? x.steps_sum16[j][0] : x.steps_sum[j][0]));
  });
  return sum;
}

// out += the block, in the order of multiply_integer (gemm.isa.cpp).
template <typename F, typename Block>
MINKE_INLINE Vf finish(const Block& b, const QuantTile<1>& x, Vi total, Vf out) {
  if constexpr (F::kOffset > 0 && F::kOffset < 128) {
    const Vi offset = over_pairs<F>(x, [&](auto j) MINKE_INLINED {
      return bit_or(bit_and(b.scale[2 * j], set1(0xffff)), shl<16>(b.scale[2 * j + 1]));
    });
    total = sub(total, mul(offset, set1(F::kOffset)));
  }
  Vf value = mul(b.d, to_float(total));
  if constexpr (F::kMin) {
    const Vi mins = over_pairs<F>(x, [&](auto j) MINKE_INLINED { return b.min[j]; });
    value = fma(sub(zero_f(), b.dmin), to_float(mins), value);
  }
  return fma(value, set1(x.scale[0][0]), out);
}

template <typename F, bool kRest, typename Prefetch>
MINKE_INLINE Vf add_block(const Walk& walk, const QuantTile<1>& x, const QuantTile<1>& second, Vf out,
                          Prefetch prefetch) {
  using Block = IntegerBlock<F, kRest>;
  Block b{x, second, {}, {}, {}, {}, {}};
  const auto header = F::header(walk.base, walk.stride, b);
  Vi total = zero_i(), rest = zero_i();
  unroll<F::kChunks>([&](auto c) MINKE_INLINED {
    prefetch(c);
    constexpr int first_sub = c * Block::kPerChunk;
    unroll<Block::kPerChunk>([&](auto i) MINKE_INLINED {
      constexpr int column = (first_sub + i) * F::kSub / 32;
      if constexpr (F::kOffset == 128)
        b.dots[i].clear(above<F>(x, column), above<F>(second, column));
      else
        b.dots[i].clear(0, 0);
    });
    F::template codes<c>(walk.base, walk.stride, header, b);
    unroll<Block::kPerChunk>([&](auto i) MINKE_INLINED {
      const Vi scale = mul(b.scale[first_sub + i], set1(x.step[(first_sub + i) * F::kSub / 32][0]));
      total = add(total, mul(b.dots[i].sum, scale));
      if constexpr (kRest) rest = add(rest, mul(b.dots[i].rest, scale));
    });
    opaque(total);
  });
  out = finish<F>(b, x, total, out);
  return kRest ? finish<F>(b, second, rest, out) : out;
}

template <typename F>
MINKE_INLINE Vf stream_integer(const Mat& w, int first, int rows, const Operand& x) {
  const auto* tiles = reinterpret_cast<const QuantTile<1>*>(x.data);
  const int blocks = blocks_of(x.cols);
  alignas(64) std::byte copy[kPanel * F::kBytes];
  Vf out = zero_f();
  for (int block = 0; block < blocks; ++block) {
    const Walk walk = rows_at(w, first, rows, int64_t{block} * F::kBytes, F::kBytes, copy);
    const auto prefetch = [&](auto c) MINKE_INLINED {
      constexpr int n = kPanel / F::kChunks;
      prefetch_ahead<kPanel>(w, first, block, F::kBytes, c * n, c * n + n);
    };
    const QuantTile<1>&tile = tiles[block], &second = tiles[block + blocks];
    out = tile.rest[0] ? add_block<F, true>(walk, tile, second, out, prefetch)
                       : add_block<F, false>(walk, tile, second, out, prefetch);
  }
  return out;
}

// ---- 32 columns under f32 scales

template <typename F, bool kRest>
struct ScaledGroup {
  const QuantTile<1>& x;
  const QuantTile<1>& second;
  Vf scale, min;
  Dots<F, kRest> dots;

  MINKE_INLINE void codes(int k, Vi word) { dots.add(x, second, k, word); }
  MINKE_INLINE void set_fscale(int, Vf v) { scale = v; }
  MINKE_INLINE void set_fmin(int, Vf v) { min = v; }
};

// out += 32 columns, in the order of add_scaled_32 (gemm.isa.cpp).
template <typename F, typename Group>
MINKE_INLINE Vf finish(const Group& g, const QuantTile<1>& x, int i, Vi sum, Vf out) {
  out = fma(mul(g.scale, to_float(sum)), set1(x.scale[i][0]), out);
  return F::kMin ? fma(g.min, set1(x.scaled_sum[i][0]), out) : out;
}

template <typename F, bool kRest>
MINKE_INLINE void add_group(const Walk& walk, const QuantTile<1>& x, const QuantTile<1>& second, int i,
                            Vf& out, Vf& rest) {
  ScaledGroup<F, kRest> g{x, second, {}, {}, {}};
  g.dots.clear(above<F>(x, i), kRest ? above<F>(second, i) : 0);
  F::unpack(walk.base + i * F::kBytes, walk.stride, i, g);
  out = finish<F>(g, x, i, g.dots.sum, out);
  if constexpr (kRest) rest = finish<F>(g, second, i, g.dots.rest, rest);
}

template <typename F>
MINKE_INLINE Vf stream_scaled(const Mat& w, int first, int rows, const Operand& x) {
  const auto* tiles = reinterpret_cast<const QuantTile<1>*>(x.data);
  const int blocks = blocks_of(x.cols);
  alignas(64) std::byte copy[kPanel * F::kBytes * 8];
  Vf out = zero_f();
  for (int block = 0; block < blocks; ++block) {
    const int groups = std::min(8, (x.cols - block * kBlock) / 32);
    const Walk walk =
        rows_at(w, first, rows, int64_t{block} * F::kBytes * 8, int64_t{groups} * F::kBytes, copy);
    const QuantTile<1>&tile = tiles[block], &second = tiles[block + blocks];
    Vf rest = zero_f();
    for (int i = 0; i < groups; ++i) {
      prefetch_ahead<kPanel>(w, first, block, F::kBytes * 8, 2 * i, 2 * i + 2);
      if (tile.rest[0] >> i & 1)
        add_group<F, true>(walk, tile, second, i, out, rest);
      else
        add_group<F, false>(walk, tile, second, i, out, rest);
    }
    if (tile.rest[0]) out = add(out, rest);  // as multiply_rest does
  }
  return out;
}

template <typename F>
void stream(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool accumulate) {
  for (int r = 0; r < rows; r += kPanel) {
    const int here = std::min(kPanel, rows - r);
    Vf sum;
    if constexpr (F::kIntegerScales)
      sum = stream_integer<F>(w, first_row + r, here, x);
    else
      sum = stream_scaled<F>(w, first_row + r, here, x);
    store_first(out + r, accumulate ? add(load_first(out + r, here), sum) : sum, here);
  }
}

bool gemv(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add) {
  if (x.grain == Grain::f32) return false;
  return with_unpacker(w.format, [&](auto f) { stream<decltype(f)>(w, first_row, rows, x, out, add); });
}

}  // namespace

void MINKE_FILL(gemv)(Kernels& table) { table.gemv = gemv; }

}  // namespace minke

#endif
