#pragma once
// A panel's block times a tile of tokens, or one token's rest. Sums stay integers as far as the format's
// scales are, then f32 steps follow in one order: what stream.h and gemv.isa.cpp do as well, to the bit.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/operand.h"
#include "kernels/panel.h"
#include "kernels/panel_sums.h"
#include "kernels/simd.h"

namespace minke {
namespace {

// Scales of the panel times steps 1 .. 8 of the activations, made once a panel where many tokens use them.
struct alignas(64) Steps {
  // Of integer scales. Where sums are paired, a word has the scales of a pair: those of 16 columns stand in
  // word[pair], both halves of it; those of 32 columns, whose steps differ and of which none is negative,
  // each in its own half of word[sub-block], or with kMul16 both in word[pair][0], not multiplied yet.
  int32_t word[16][8][kPanel];
  float scale[8][8][kPanel];  // of f32 scales, exact
};

// The words of a table of steps at a token's row (TokenBlock::row).
template <typename Word>
MINKE_INLINE auto at_row(const Word (&table)[8][kPanel], size_t row) {
  static_assert(sizeof table[0] == kStepRow);
  return load(reinterpret_cast<const Word*>(reinterpret_cast<const std::byte*>(table) + kRowUnit * row));
}

constexpr int kManyTokens = 12;  // from here on the table costs less than it saves

// Others are multiplied as they are needed: integer scales of codes of all eight bits, and f32 ones where
// units for it are free.
template <typename F>
constexpr bool kTakesSteps = F::kIntegerScales ? F::kOffset != 128 : !kMul16;

// Whether two sums are scaled at once. Formats whose codes have all eight bits reach beyond 16 bits.
template <typename F>
constexpr bool kPaired = kPairSums && F::kIntegerScales && F::kOffset != 128;

template <typename F>
void make_steps(const Panel& p, int subs, Steps& steps) {
  if constexpr (!F::kIntegerScales) {
    for (int i = 0; i < subs; ++i)
      for (int s = 0; s < 8; ++s)
        store(steps.scale[i][s], mul(load(p.fscale[i]), set1(static_cast<float>(s + 1))));
  } else if constexpr (kPaired<F> && F::kSub == 16) {
    for (int i = 0; i < subs; i += 2) {
      Vi low = zero_i(), high = zero_i();
      for (int s = 0; s < 8; ++s) {
        low = add(low, load(p.scale[i]));
        high = add(high, load(p.scale[i + 1]));
        store(steps.word[i / 2][s], low_halves(low, high));
      }
    }
  } else if constexpr (kPaired<F> && kMul16) {
    for (int i = 0; i < subs; i += 2)
      store(steps.word[i / 2][0], low_halves(load(p.scale[i]), load(p.scale[i + 1])));
  } else {
    for (int i = 0; i < subs; ++i) {
      Vi multiple = zero_i();
      for (int s = 0; s < 8; ++s) {
        multiple = add(multiple, load(p.scale[i]));
        const Vi half = i % 2 == 0 ? multiple : shl<16>(multiple);
        store(steps.word[i][s], kPaired<F> ? half : scale_word(multiple));
      }
    }
  }
}

// How many dots of codes up to F::kLargest a Part takes before it must be emptied, no more than a sub-block
// has.
template <typename F>
constexpr int kGroup = F::kOffset == 128 ? F::kSub / 4 : std::min(F::kSub / 4, part_dots(F::kLargest));

// f(part, t) with the dots of part of sub-block i for every token of the tile; several times where a Part
// cannot hold all.
template <typename F, int T, typename Take>
MINKE_INLINE void sub_block(const Panel& p, const QuantTile<T>& x, int i, const Take& take) {
  constexpr int kDots = F::kSub / 4;
  static_assert(kDots % kGroup<F> == 0);
  unroll<kDots / kGroup<F>>([&](auto g) MINKE_INLINED {
    Part part[2][T];  // in turns where one token's would wait for itself
    constexpr int kTurns = T == 1 && kDots == 8 && kPairSums ? 2 : 1;
    unroll<kTurns * T>([&](auto n) MINKE_INLINED { part[n / T][n % T] = zero_part(); });
    unroll<kGroup<F>>([&](auto j) MINKE_INLINED {
      const int k = i * kDots + g * kGroup<F> + j;
      const Vi w = code_word(p, k);
      unroll<T>([&](auto t) MINKE_INLINED {
        Part& sum = part[j % kTurns][t];
        sum = dot_part_at(sum, w, x.q[k][t]);
      });
    });
    if constexpr (kTurns == 2) part[0][0] = add_part(part[0][0], part[1][0]);
    unroll<T>([&](auto t) MINKE_INLINED { take(part[0][t], t); });
  });
}

// The same for codes of all eight bits: their sums of values.
template <typename F, int T, typename Take>
MINKE_INLINE void wide_sub_block(const Panel& p, const QuantTile<T>& x, int i, const Take& take) {
  Vi sum[T];
  unroll<T>([&](auto t) MINKE_INLINED { sum[t] = kSignedCodes ? zero_i() : below_codes<F>(x.token[t], i); });
  unroll<F::kSub / 4>([&](auto j) MINKE_INLINED {
    const int k = i * (F::kSub / 4) + j;
    const Vi w = code_word(p, k);
    unroll<T>([&](auto t) MINKE_INLINED { sum[t] = dot_wide_at(sum[t], w, x.q[k][t]); });
  });
  unroll<T>([&](auto t) MINKE_INLINED { take(sum[t], t); });
}

// ---- 256 columns under integer scales

// total += scale * step * code * q over sub-block i; of codes of all eight bits, * value.
template <typename F, int T>
MINKE_INLINE void add_sub_block(const Panel& p, const Steps* steps, const QuantTile<T>& x, int i,
                                Vi total[T]) {
  const int column = i * F::kSub / 32;
  const auto scaled = [&](auto t)
                          MINKE_INLINED { return mul(load(p.scale[i]), set1(x.token[t].step[column])); };
  if constexpr (F::kOffset == 128) {
    wide_sub_block<F, T>(
        p, x, i, [&](Vi sum, auto t) MINKE_INLINED { total[t] = add(total[t], mul(sum, scaled(t))); });
  } else if (steps) {
    sub_block<F, T>(p, x, i, [&](Part part, auto t) MINKE_INLINED {
      total[t] = add_scaled(total[t], part, at_row(steps->word[i], x.token[t].row[column]));
    });
  } else {
    sub_block<F, T>(p, x, i, [&](Part part, auto t) MINKE_INLINED {
      total[t] = add_scaled(total[t], part, scale_word(scaled(t)));
    });
  }
}

// total -= what codes are above values.
template <typename F, int T>
MINKE_INLINE void take_offset(const Panel& p, const QuantTile<T>& x, Vi total[T]) {
  if constexpr (F::kOffset > 0 && F::kOffset < 128) {
    static_assert(F::kSub == 16);
    Vi above[T];
    unroll<T>([&](auto t) MINKE_INLINED { above[t] = zero_i(); });
    for (int j = 0; j < 8; ++j) {
      const Vi scales = low_halves(load(p.scale[2 * j]), load(p.scale[2 * j + 1]));
      unroll<T>([&](auto t)
                    MINKE_INLINED { above[t] = dot16_at(above[t], scales, x.token[t].steps_sum16[j]); });
    }
    unroll<T>([&](auto t) MINKE_INLINED { total[t] = sub(total[t], mul(above[t], set1(F::kOffset))); });
  }
}

// Byte i: 0 where sums over 32 columns (of either 16 of them) fit 16 bits for all tokens of the tile.
template <typename F, int T>
MINKE_INLINE uint64_t beyond_16_bits(const QuantTile<T>& x) {
  static_assert(F::kSub == 16 || F::kOffset == 0);  // what reach16 and reach32 are for
  constexpr int kMost = 32767 / std::max(F::kOffset, F::kLargest - F::kOffset) / kReachUnit;
  constexpr uint64_t kBeyond = 256 - std::min(256u, std::bit_floor(kMost + 1u));  // a power of two is enough
  uint64_t all = 0;
  for (int t = 0; t < T; ++t) {
    uint64_t reach;
    std::memcpy(&reach, F::kSub == 16 ? x.token[t].reach16 : x.token[t].reach32, sizeof reach);
    all |= reach;
  }
  return all & kBeyond * 0x0101010101010101;
}

// The integers of one block, scaled: total = sum of scale * step * (code - offset) * q. Two neighbouring
// sub-blocks' sums that fit 16 bits are scaled by one multiplication.
template <typename F, int T>
MINKE_INLINE void paired_block(const Panel& p, const Steps& steps, const QuantTile<T>& x, Vi total[T]) {
  constexpr int kDots = F::kSub / 4;
  uint64_t beyond = beyond_16_bits<F, T>(x);
  unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_i(); });
  for (int j = 0; j < kBlock / F::kSub / 2; ++j, beyond >>= F::kSub / 2) {
    Vi sum[2][T];
    unroll<2>([&](auto h) MINKE_INLINED {
      unroll<T>([&](auto t) MINKE_INLINED { sum[h][t] = below_codes<F>(x.token[t], 2 * j + h); });
    });
    // In turns, since a sum waits for itself and those of one sub-block do not fill two multiply units.
    unroll<kDots>([&](auto i) MINKE_INLINED {
      unroll<2>([&](auto h) MINKE_INLINED {
        const int k = (2 * j + h) * kDots + i;
        const Vi w = code_word(p, k);
        unroll<T>([&](auto t) MINKE_INLINED { sum[h][t] = dot7_at(sum[h][t], w, x.q[k][t]); });
      });
    });
    const auto& first = steps.word[F::kSub == 16 || kMul16 ? j : 2 * j];
    const auto& second = steps.word[2 * j + 1];
    const Vi pair = load(first[0]);
    const auto scales = [&](const TokenBlock& token) MINKE_INLINED {
      if constexpr (F::kSub == 16) return at_row(first, token.row[j]);
      if constexpr (kMul16) return mul16(pair, broadcast4(token.steps[j]));
      return bit_or(at_row(first, token.row[2 * j]), at_row(second, token.row[2 * j + 1]));
    };
    if ((beyond & (F::kSub == 16 ? 0xff : 0xffff)) == 0) {
      unroll<T>([&](auto t) MINKE_INLINED {
        total[t] = dot16(total[t], low_halves(sum[0][t], sum[1][t]), scales(x.token[t]));
      });
    } else {
      unroll<T>([&](auto t) MINKE_INLINED {
        const Vi scale = scales(x.token[t]);
        total[t] = add(total[t], mul(sum[0][t], sar<16>(shl<16>(scale))));
        total[t] = add(total[t], mul(sum[1][t], sar<16>(scale)));
      });
    }
  }
}

// The same one by one.
template <typename F, int T>
MINKE_INLINE void integer_block(const Panel& p, const Steps* steps, const QuantTile<T>& x, Vi total[T]) {
  unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_i(); });
  for (int i = 0; i < kBlock / F::kSub; ++i) add_sub_block<F, T>(p, steps, x, i, total);
  take_offset<F, T>(p, x, total);
}

constexpr uint32_t kAll = ~0u;  // columns

// use(j) for the pairs of neighbouring sub-blocks that have any of the 32s in `columns`.
template <typename F, typename Use>
MINKE_INLINE void each_pair(uint32_t columns, const Use& use) {
  if (columns == kAll) {
    for (int j = 0; j < kBlock / F::kSub / 2; ++j) use(j);
    return;
  }
  if constexpr (F::kSub == 32) columns = (columns | columns >> 1) & 0x55;
  for (; columns != 0; columns &= columns - 1) use(__builtin_ctz(columns) * 16 / F::kSub);
}

// What a block gives of each token, before the activations' scale.
template <typename F, int T>
MINKE_INLINE void integer_values(const Panel& p, const QuantTile<T>& x, Vi total[T], Vf value[T],
                                 [[maybe_unused]] uint32_t columns = kAll) {
  unroll<T>([&](auto t) MINKE_INLINED { value[t] = mul(load(p.d), to_float(total[t])); });
  if constexpr (F::kMin) {
    unroll<T>([&](auto t) MINKE_INLINED { total[t] = zero_i(); });
    each_pair<F>(columns, [&](int j) MINKE_INLINED {
      const Vi min = load(reinterpret_cast<const int32_t*>(p.min[j]));
      unroll<T>([&](auto t) MINKE_INLINED {
        const TokenBlock& token = x.token[t];
        total[t] = dot16_at(total[t], min, F::kSub == 16 ? token.steps_sum16[j] : token.steps_sum[j]);
      });
    });
    const Vf negative = sub(zero_f(), load(p.dmin));
    unroll<T>([&](auto t) MINKE_INLINED { value[t] = fma(negative, to_float(total[t]), value[t]); });
  }
}

// ---- 32 columns under f32 scales

// value += 32 columns, before the activations' scale.
template <typename F, int T>
MINKE_INLINE void add_scaled_32(const Panel& p, const Steps* steps, const QuantTile<T>& x, int i,
                                Vf value[T]) {
  static_assert(F::kSub == 32);
  Vi sum[T];
  if constexpr (F::kOffset == 128) {
    wide_sub_block<F, T>(p, x, i, [&](Vi s, auto t) MINKE_INLINED { sum[t] = s; });
  } else {
    unroll<T>([&](auto t) MINKE_INLINED { sum[t] = below_codes<F>(x.token[t], i); });
    sub_block<F, T>(p, x, i, [&](Part part, auto t) MINKE_INLINED { sum[t] = add_part(sum[t], part); });
  }
  const Vf scale = load(p.fscale[i]);
  unroll<T>([&](auto t) MINKE_INLINED {
    const TokenBlock& token = x.token[t];
    value[t] = fma(steps ? at_row(steps->scale[i], token.row[i]) : mul(scale, set1(token.f32_step[i])),
                   to_float(sum[t]), value[t]);
  });
  if constexpr (F::kMin) {
    const Vf min = load(p.fmin[i]);
    unroll<T>([&](auto t) MINKE_INLINED { value[t] = fma(min, set1(x.token[t].step_sum[i]), value[t]); });
  }
}

// ---- any format

// out [token][16] = (first ? 0 : out) + the first `subs` sub-blocks of the panel times the tile.
template <typename F, int T>
void multiply_tile(const Panel& p, const Steps* steps, int subs, const QuantTile<T>& x, bool first,
                   float* out) {
  Vf value[T];
  if constexpr (F::kIntegerScales) {
    Vi total[T];
    if constexpr (kPaired<F>)
      steps ? paired_block<F, T>(p, *steps, x, total) : integer_block<F, T>(p, nullptr, x, total);
    else
      integer_block<F, T>(p, steps, x, total);
    integer_values<F, T>(p, x, total, value);
  } else {
    unroll<T>([&](auto t) MINKE_INLINED { value[t] = zero_f(); });
    for (int i = 0; i < subs; ++i) add_scaled_32<F, T>(p, steps, x, i, value);
  }
  unroll<T>([&](auto t) MINKE_INLINED {
    float* sum = out + kPanel * t;
    store(sum, fma(value[t], set1(x.token[t].scale), before(first, sum)));
  });
}

// out [16] += the 32s in `columns` of one token's rest.
template <typename F>
void multiply_rest(const Panel& p, const QuantTile<1>& x, uint32_t columns, float* out) {
  Vf value[1] = {zero_f()};
  Vi total[1] = {zero_i()};
  for (uint32_t left = columns; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    if constexpr (!F::kIntegerScales)
      add_scaled_32<F, 1>(p, nullptr, x, i, value);
    else
      for (int sub = i * 32 / F::kSub; sub < (i + 1) * 32 / F::kSub; ++sub)
        add_sub_block<F, 1>(p, nullptr, x, sub, total);
  }
  if constexpr (F::kIntegerScales) {
    take_offset<F, 1>(p, x, total);
    integer_values<F, 1>(p, x, total, value, columns);
  }
  store(out, fma(value[0], set1(x.token[0].scale), load(out)));
}

}  // namespace
}  // namespace minke
