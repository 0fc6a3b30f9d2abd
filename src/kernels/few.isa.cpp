// A few tokens (stream.h): a step of several answers at once, or of one with drafts behind it.

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar) || defined(MINKE_ISA_avx2)

void minke::MINKE_FILL(few)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few)(Kernels& table) { fill_few_avx512_vnni(table); }

#else

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

bool few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add) {
  if (x.grain == Grain::f32 || w.interleaved || x.tokens > most_of(w.format)) return false;
  return with_plain_unpacker(w.format, [&](auto f) {
    using F = decltype(f);
    constexpr int kAtOnce = std::min(most_of(F::kFormat), 8);  // what the registers hold beside codes
    for (int r = 0; r < rows; r += kPanel) {
      const int here = std::min(kPanel, rows - r);
      for (int token = 0; token < x.tokens; token += kAtOnce) {  // the second time, weights come from L2
        const int count = std::min(kAtOnce, x.tokens - token);
        unroll<kAtOnce>([&](auto i) {
          constexpr int N = i + 1;
          if constexpr (N > 1 || most_of(F::kFormat) > kAtOnce)
            if (count == N)
              stream<F, N>(w, first_row + r, here, x, token, out + token * stride + r, stride, add);
        });
      }
    }
  });
}

}  // namespace

void MINKE_FILL(few)(Kernels& table) { table.few = few; }

}  // namespace minke

#endif
