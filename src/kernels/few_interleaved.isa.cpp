// One token or a few, and interleaved rows (few.h, quant/interleave.h).

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar) || defined(MINKE_ISA_avx2)

void minke::MINKE_FILL(few_interleaved)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few_interleaved)(Kernels& table) { fill_few_interleaved_avx512_vnni(table); }

#else

#include "kernels/few.h"

namespace minke {
namespace {

bool few_interleaved(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                     bool add) {
  if (x.grain == Grain::f32 || x.tokens > most_of(w.format)) return false;
  return with_plain_unpacker(w.format, [&](auto f) {
    using F = decltype(f);
    if constexpr (interleaves(F::kFormat))
      few_tokens<F, AsInterleaved<F>, 1>(w, first_row, rows, x, out, stride, add);
  });
}

}  // namespace

void MINKE_FILL(few_interleaved)(Kernels& table) { table.few_interleaved = few_interleaved; }

}  // namespace minke

#endif
