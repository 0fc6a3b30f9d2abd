// One token or a few, and interleaved rows (stream.h, quant/interleave.h).

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar) || defined(MINKE_ISA_avx2)

void minke::MINKE_FILL(few_interleaved)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few_interleaved)(Kernels& table) { fill_few_interleaved_avx512_vnni(table); }

#else

#include "kernels/stream.h"

namespace minke {
namespace {

#if defined(__AVX512VNNI__)
constexpr int kMost = kFewTokens, kAtOnce = 8;  // as in few.isa.cpp
#else
constexpr int kMost = 3, kAtOnce = 3;
#endif

bool few_interleaved(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                     bool add) {
  if (x.grain == Grain::f32 || x.tokens > kMost) return false;
  return with_plain_unpacker(w.format, [&](auto f) {
    using F = decltype(f);
    if constexpr (interleaves(F::kFormat)) {
      for (int r = 0; r < rows; r += kPanel)
        for (int token = 0; token < x.tokens; token += kAtOnce)
          unroll<kAtOnce>([&](auto i) {
            if (std::min(kAtOnce, x.tokens - token) == i + 1)
              stream<F, i + 1, AsInterleaved<F>>(w, first_row + r, kPanel, x, token, out + token * stride + r,
                                                 stride, add);
          });
    }
  });
}

}  // namespace

void MINKE_FILL(few_interleaved)(Kernels& table) { table.few_interleaved = few_interleaved; }

}  // namespace minke

#endif
