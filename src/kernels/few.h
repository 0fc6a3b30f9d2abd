#pragma once
// A few tokens at once (stream.h): a step of several answers, or of one with drafts behind it.

#include <algorithm>

#include "kernels/stream.h"

namespace minke {
namespace {

// How many for which that is faster than a panel (gemm.isa.cpp). Without VNNI, and where a word is four
// registers, codes cost less than their products from four on. Compilers take seconds for each number of
// tokens, so that formats in little use have fewer.
constexpr int most_of([[maybe_unused]] Format format) {
#if defined(__AVX512VNNI__)
  const bool rare = format == Format::q2_k || format == Format::q3_k || format == Format::iq4_xs;
  return rare ? 3 : kFewTokens;
#else
  return 3;
#endif
}

// All tokens of x, of which there are at least kLeast and at most most_of(F::kFormat); Lie: how w lies
// (walk.h).
template <typename F, typename Lie, int kLeast>
void few_tokens(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                bool add) {
  constexpr int kMost = most_of(F::kFormat),
                kAtOnce = std::min(kMost, 8);  // what the registers hold beside codes
  for (int r = 0; r < rows; r += kPanel)
    for (int token = 0; token < x.tokens; token += kAtOnce) {  // the second time, weights come from L2
      const int count = std::min(kAtOnce, x.tokens - token);
      unroll<kAtOnce>([&](auto i) {
        constexpr int N = i + 1;
        if constexpr (N >= kLeast || kMost > kAtOnce)
          if (count == N)
            stream<F, N, Lie>(w, first_row + r, std::min(kPanel, rows - r), x, token,
                              out + token * stride + r, stride, add);
      });
    }
}

}  // namespace
}  // namespace minke
