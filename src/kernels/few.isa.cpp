// Two or three tokens (stream.h): a step of an answer with a draft behind it, or of as many answers. For
// four, panels are as fast (gemm.isa.cpp): codes cost less than their products then.

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar) || defined(MINKE_ISA_avx2)

void minke::MINKE_FILL(few)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few)(Kernels& table) { fill_few_avx512_vnni(table); }

#else

#include "kernels/stream.h"

namespace minke {
namespace {

bool few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add) {
  if (x.grain == Grain::f32) return false;
  return with_unpacker(w.format, [&](auto f) {
    using F = decltype(f);
    if (x.tokens == 2)
      stream<F, 2>(w, first_row, rows, x, out, stride, add);
    else
      stream<F, 3>(w, first_row, rows, x, out, stride, add);
  });
}

}  // namespace

void MINKE_FILL(few)(Kernels& table) { table.few = few; }

}  // namespace minke

#endif
