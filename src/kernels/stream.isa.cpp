// One token (stream.h). AVX2 has its own way (gemv.isa.cpp), and the reference leaves it to gemm.

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar)

void minke::MINKE_FILL(gemv)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(gemv)(Kernels& table) { fill_gemv_avx512_vnni(table); }

#elif !defined(MINKE_ISA_avx2)

#include "kernels/stream.h"

namespace minke {
namespace {

bool gemv(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add) {
  if (x.grain == Grain::f32 || w.interleaved) return false;
  return with_unpacker(w.format, [&](auto f) {
    for (int r = 0; r < rows; r += kPanel)
      stream<decltype(f), 1>(w, first_row + r, std::min(kPanel, rows - r), x, 0, out + r, 0, add);
  });
}

}  // namespace

void MINKE_FILL(gemv)(Kernels& table) { table.gemv = gemv; }

}  // namespace minke

#endif
