#pragma once
// A few tokens, sixteen rows of weights at a time: codes meet the tokens on their way out of the weights, in
// registers. What gemm would give, to the bit: integers within a block, then the same f32 steps in the same
// order. For instruction sets with 32 registers.

#include "kernels/unpack.h"
#include "kernels/walk.h"

namespace minke {
namespace {

// Where token t of N lies in the tiles of for_each_tile: its tile's width and first token.
struct Place {
  int width, first;
};
constexpr Place place_of(int N, int t) {
  int width = kTokenTile, first = 0;
  for (;;) {
    while (N - first < width) width /= 2;
    if (t < first + width) return {width, first};
    first += width;
  }
}

// N tokens in one block of columns.
template <int N>
struct Tokens {
  const std::byte* tiles;
  const QuantTile<1>* rests;  // [N], what rounding left over of each

  // f(tile, i): token t is number i of the tile.
  template <int t, typename F>
  MINKE_INLINE auto at(Index<t>, const F& f) const {
    constexpr Place place = place_of(N, t);
    return f(*reinterpret_cast<const QuantTile<place.width>*>(tiles + kQuantTokenBytes * place.first),
             Index<t - place.first>{});
  }
  // Bit i: token t has a rest in these 32 columns.
  template <int t>
  MINKE_INLINE uint32_t rest(Index<t> index) const {
    return at(index, [](const auto& tile, auto j) MINKE_INLINED { return tile.token[j].rest; });
  }
};

// Those from `token` on, a multiple of kTokenTile.
template <int N>
MINKE_INLINE Tokens<N> tokens_at(const Operand& x, int token, int block) {
  return {x.data + kQuantTokenBytes * (int64_t{x.tokens} * block + token), rests_of(x, block) + token};
}
// The rests of N tokens, as if they were tokens.
template <int N>
struct Rests {
  const QuantTile<1>* of[N];
  template <int t, typename F>
  MINKE_INLINE auto at(Index<t>, const F& f) const {
    return f(*of[t], Index<0>{});
  }
};

// The sum of one sub-block's codes times a token, of parts whose products need not wait for each other.
template <int parts>
struct Dot {
  Vi part[parts];
  MINKE_INLINE void start(Vi with) {
    part[0] = with;
    if constexpr (parts == 2) part[1] = zero_i();
  }
  MINKE_INLINE Vi sum() const { return parts == 2 ? minke::add(part[0], part[parts - 1]) : part[0]; }
};

// Those of N tokens; with kRest, for a single token, its rest's as well.
template <typename F, int N, bool kRest>
struct Dots {
  static_assert(N == 1 || !kRest);
  // Two sub-blocks of a 256-column format are open at a time as it is.
  static constexpr int kParts = N == 1 && !F::kIntegerScales ? 2 : 1;
  Dot<kParts> dot[N], rest;

  // What codes are above values comes off at the start of sub-block i.
  template <typename X>
  MINKE_INLINE void clear(const X& x, int i) {
    const auto above = [&](const auto& tile, auto j) MINKE_INLINED {
      return F::kOffset == 128 && kSignedCodes ? zero_i() : below_codes<F>(tile.token[j], i);
    };
    unroll<N>([&](auto t) MINKE_INLINED { dot[t].start(x.at(t, above)); });
    if constexpr (kRest) rest.start(above(x.rests[0], Index<0>{}));
  }
  template <typename X>
  MINKE_INLINE void add(const X& x, int k, Vi word) {
    const auto add_to = [&](Vi& acc, const int8_t* q) MINKE_INLINED {
      if constexpr (F::kOffset == 128)
        acc = dot_wide_at(acc, word, q);
      else
        acc = dot7_at(acc, word, q);
    };
    const int part = k % kParts;
    unroll<N>([&](auto t) MINKE_INLINED {
      x.at(t, [&](const auto& tile, auto j) MINKE_INLINED { add_to(dot[t].part[part], tile.q[k][j]); });
    });
    if constexpr (kRest) add_to(rest.part[part], x.rests[0].q[k][0]);
  }
};

// ---- 256 columns under integer scales

// Codes of a sub-block come in order, and once its last has come its dots are scaled and added to the totals.
template <typename F, int N, bool kRest, typename At, typename X = Tokens<N>>
struct IntegerBlock {
  static constexpr int kSubs = kBlock / F::kSub, kWords = F::kSub / 4;
  // Sub-blocks whose codes come in between each other's. No more than those: GCC 12 writes what stands in a
  // larger array to memory, each sum of it.
  static constexpr int kOpen = F::kSub == 16 ? 1 : kSubs / F::kChunks;
  // Sub-blocks of 16 come in pairs, whose sums meet the step of their 32 columns together: three
  // multiplications instead of four, for reading twice. One or two tokens wait for memory, not for those.
  static constexpr bool kPaired = F::kSub == 16 && At::kLoads && N > 2;
  const X& x;
  Vi scale[kSubs], min[kSubs / 2];
  Vf d, dmin;
  Dots<F, N, kRest> dots[kOpen];
  Vi first[kPaired ? N : 1];  // of a pair
  Vi total[N], rest;

  MINKE_INLINE explicit IntegerBlock(const X& tokens) : x(tokens) {
    unroll<N>([&](auto t) MINKE_INLINED { total[t] = zero_i(); });
    if constexpr (kRest) rest = zero_i();
  }

  MINKE_INLINE void codes(int k, Vi word) {
    const int sub = k / kWords;
    auto& sums = dots[sub % kOpen];
    if (k % kWords == 0) sums.clear(x, sub);
    sums.add(x, k, word);
    if (k % kWords == kWords - 1) take(sub, sums);
  }
  MINKE_INLINE void take(int sub, const Dots<F, N, kRest>& sums) {
    const auto step = [&](const auto& tile, auto j)
                          MINKE_INLINED { return set1(tile.token[j].step[sub * F::kSub / 32]); };
    const auto scaled = [&](const auto& tile, auto j)
                            MINKE_INLINED { return mul(scale[sub], step(tile, j)); };
    unroll<N>([&](auto t) MINKE_INLINED {
      if constexpr (!kPaired) {
        total[t] = minke::add(total[t], mul(sums.dot[t].sum(), x.at(t, scaled)));
      } else if (sub % 2 == 0) {
        first[t] = mul(sums.dot[t].sum(), scale[sub]);
        opaque(first[t]);
        return;
      } else {
        total[t] = minke::add(total[t],
                              mul(minke::add(first[t], mul(sums.dot[t].sum(), scale[sub])), x.at(t, step)));
      }
      opaque(total[t]);
    });
    if constexpr (kRest) rest = minke::add(rest, mul(sums.rest.sum(), scaled(x.rests[0], Index<0>{})));
  }
  MINKE_INLINE void set_scale(int i, Vi word) { scale[i] = word; }
  MINKE_INLINE void set_mins(int j, Vi word) { min[j] = word; }
  MINKE_INLINE void set_d(Vf v) { d = v; }
  MINKE_INLINE void set_dmin(Vf v) { dmin = v; }
};

// out += the block of one token, in the order of integer_values (tile_products.h).
template <typename F, typename Block>
MINKE_INLINE Vf finish(const Block& b, const TokenBlock& x, Vi total, Vf out) {
  Vf value = mul(b.d, to_float(total));
  if constexpr (F::kMin) {
    Vi mins = zero_i();
    unroll<kBlock / F::kSub / 2>([&](auto j) MINKE_INLINED {
      mins = dot16(mins, b.min[j], broadcast4(F::kSub == 16 ? x.steps_sum16[j] : x.steps_sum[j]));
    });
    value = fma(sub(zero_f(), b.dmin), to_float(mins), value);
  }
  return fma(value, set1(x.scale), out);
}

// out[t] += the block times token t, and times its rest.
template <typename F, int N, bool kRest, typename At, typename Prefetch>
MINKE_INLINE void add_block(const At& at, const Tokens<N>& x, Vf out[N], Prefetch prefetch) {
  IntegerBlock<F, N, kRest, At> b(x);
  const auto header = F::header(at, b);
  unroll<F::kChunks>([&](auto c) MINKE_INLINED {
    prefetch(c);
    F::template codes<c>(at, header, b);
  });
  unroll<N>([&](auto t) MINKE_INLINED {
    out[t] = x.at(t, [&](const auto& tile, auto j)
                         MINKE_INLINED { return finish<F>(b, tile.token[j], b.total[t], out[t]); });
  });
  if constexpr (kRest) out[0] = finish<F>(b, x.rests[0].token[0], b.rest, out[0]);
}

// Of a chunk only the codes of 32 columns: the compiler leaves out what the others take.
template <typename Block, int group>
struct OneGroup {
  static constexpr bool kPaired = Block::kPaired;
  Block& block;
  MINKE_INLINE void codes(int k, Vi word) {
    if (k / 8 == group) block.codes(k, word);
  }
};

// N rests alone, in the 32s of `columns`.
template <typename F, int N, typename At>
__attribute__((noinline)) void add_rests_at(const At& at, const Rests<N>& x, uint32_t columns,
                                            Vf* const out[N]) {
  using Block = IntegerBlock<F, N, false, At, Rests<N>>;
  Block b(x);
  const auto header = F::header(at, b);
  unroll<8>([&](auto group) MINKE_INLINED {
    if ((columns >> group & 1) == 0) return;
    OneGroup<Block, group> to{b};
    F::template codes<group * F::kChunks / 8>(at, header, to);
  });
  unroll<N>([&](auto t) MINKE_INLINED { *out[t] = finish<F>(b, x.of[t]->token[0], b.total[t], *out[t]); });
}

// out[t] += the block times the rest of token t, for all that have one. Large values stand in the same
// columns for many tokens, so four rests share the codes; each is zero where it has nothing. Apart from
// stream_integer, whose sums would otherwise go through memory (GCC 12).
template <typename F, int N, typename At>
__attribute__((noinline)) void add_rests(const At& at, const Tokens<N>& tokens, Vf out[N]) {
  uint32_t columns[N];
  unroll<N>([&](auto t) MINKE_INLINED { columns[t] = tokens.rest(t); });
  constexpr int kShare = 4;
  for (int t = 0; t < N;) {
    Rests<kShare> x;
    Vf* to[kShare];
    uint32_t all = 0;
    int count = 0;
    for (; t < N && count < kShare; ++t) {
      if (columns[t] == 0) continue;
      all |= columns[t];
      x.of[count] = tokens.rests + t;
      to[count++] = out + t;
    }
    if (count == 0) return;
    if (count == 1) {
      add_rests_at<F, 1>(at, {{x.of[0]}}, all, to);
      continue;
    }
    Vf nowhere = zero_f();
    for (; count < kShare; ++count) {
      x.of[count] = x.of[0];
      to[count] = &nowhere;
    }
    add_rests_at<F, kShare>(at, x, all, to);
  }
}

template <typename F, int N, typename Lie>
MINKE_INLINE void stream_integer(const Mat& w, int first, int rows, const Operand& x, int token, Vf out[N]) {
  const int blocks = blocks_of(x.cols);
  alignas(64) std::byte copy[kPanel * F::kBytes];
  for (int block = 0; block < blocks; ++block) {
    const auto at = Lie::at(w, first, rows, block, F::kBytes, copy);
    const Tokens<N> tokens = tokens_at<N>(x, token, block);
    const Ahead ahead = Lie::template ahead<N>(w, first, block);
    const auto prefetch = [&](auto c) MINKE_INLINED {
      constexpr int n = kPanel / F::kChunks;
      Lie::template ask<N>(ahead, c * n, c * n + n);
    };
    if constexpr (N == 1) {
      if (tokens.rest(Index<0>{}))
        add_block<F, 1, true>(at, tokens, out, prefetch);
      else
        add_block<F, 1, false>(at, tokens, out, prefetch);
    } else {
      add_block<F, N, false>(at, tokens, out, prefetch);
      uint32_t any = 0;
      unroll<N>([&](auto t) MINKE_INLINED { any |= tokens.rest(t); });
      if (any != 0) add_rests<F, N>(at, tokens, out);
    }
  }
}

// ---- 32 columns under f32 scales

template <typename F, int N, typename X>
struct ScaledGroup {
  static constexpr bool kPaired = false;
  const X& x;
  Vf scale, min;
  Dots<F, N, false> dots;

  MINKE_INLINE void codes(int k, Vi word) { dots.add(x, k, word); }
  MINKE_INLINE void set_fscale(int, Vf v) { scale = v; }
  MINKE_INLINE void set_fmin(int, Vf v) { min = v; }
};

// value += 32 columns of one token, in the order of add_scaled_32 (tile_products.h).
template <typename F, typename Group>
MINKE_INLINE Vf finish(const Group& g, const TokenBlock& x, int i, Vi sum, Vf value) {
  value = fma(mul(g.scale, set1(x.f32_step[i])), to_float(sum), value);
  return F::kMin ? fma(g.min, set1(x.step_sum[i]), value) : value;
}

// value[t] += 32 columns times token t.
template <typename F, int N, typename At, typename X>
MINKE_INLINE void add_group(const At& at, const X& x, int i, Vf value[N]) {
  ScaledGroup<F, N, X> g{x, {}, {}, {}};
  g.dots.clear(x, i);
  F::unpack(at.group(i * F::kBytes), i, g);
  unroll<N>([&](auto t) MINKE_INLINED {
    value[t] = x.at(t, [&](const auto& tile, auto j) MINKE_INLINED {
      return finish<F>(g, tile.token[j], i, g.dots.dot[t].sum(), value[t]);
    });
  });
}

// What the groups of one token's rest give.
template <typename F, typename At>
Vf rest_value(const At& at, const QuantTile<1>& x, uint32_t groups) {
  Vf value = zero_f();
  for (; groups != 0; groups &= groups - 1)
    add_group<F, 1>(at, Rests<1>{{&x}}, __builtin_ctz(groups), &value);
  return value;
}

template <typename F, int N, typename Lie>
MINKE_INLINE void stream_scaled(const Mat& w, int first, int rows, const Operand& x, int token, Vf out[N]) {
  const int blocks = blocks_of(x.cols);
  alignas(64) std::byte copy[kPanel * F::kBytes * 8];
  for (int block = 0; block < blocks; ++block) {
    const int groups = std::min(8, (x.cols - block * kBlock) / 32);
    const auto at = Lie::at(w, first, rows, block, int64_t{groups} * F::kBytes, copy);
    const Tokens<N> tokens = tokens_at<N>(x, token, block);
    Vf value[N];
    unroll<N>([&](auto t) MINKE_INLINED { value[t] = zero_f(); });
    const Ahead ahead = Lie::template ahead<N>(w, first, block);
    for (int i = 0; i < groups; ++i) {
      Lie::template ask_group<N>(ahead, i);
      add_group<F, N>(at, tokens, i, value);
    }
    unroll<N>([&](auto t) MINKE_INLINED {
      const float scale =
          tokens.at(t, [](const auto& tile, auto j) MINKE_INLINED { return tile.token[j].scale; });
      out[t] = fma(value[t], set1(scale), out[t]);
      const uint32_t which = tokens.rest(t);
      if (which == 0) return;
      const Vf rest = rest_value<F>(at, tokens.rests[t], which);
      out[t] = fma(rest, set1(tokens.rests[t].token[0].scale), out[t]);
    });
  }
}

// out[t * stride + r] (+)= W[first + r] . x[token + t] for up to kPanel rows and N tokens.
template <typename F, int N, typename Lie = AsFiled<F>>
void stream(const Mat& w, int first, int rows, const Operand& x, int token, float* out, int64_t stride,
            bool accumulate) {
  Vf sum[N];
  unroll<N>([&](auto t) MINKE_INLINED { sum[t] = zero_f(); });
  if constexpr (F::kIntegerScales)
    stream_integer<F, N, Lie>(w, first, rows, x, token, sum);
  else
    stream_scaled<F, N, Lie>(w, first, rows, x, token, sum);
  unroll<N>([&](auto t) MINKE_INLINED {
    float* to = out + t * stride;
    store_first(to, accumulate ? add(load_first(to, rows), sum[t]) : sum[t], rows);
  });
}

}  // namespace
}  // namespace minke
