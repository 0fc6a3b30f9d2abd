// One token (stream.h). AVX2 has its own way (gemv.isa.cpp), and the reference leaves it to gemm.

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar)

void minke::MINKE_FILL(gemv)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(gemv)(Kernels& table) { fill_gemv_avx512_vnni(table); }

#elif !defined(MINKE_ISA_avx2)

#include "kernels/stream.h"
#if defined(__x86_64__)
#include "kernels/gemv_codebooks.h"
#include "kernels/gemv_wide.h"
#endif

namespace minke {
namespace {

#if !defined(__x86_64__)
constexpr bool is_read_wide(Format) { return false; }
#endif

bool gemv(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add) {
  if (w.interleaved || x.grain != Grain::int8) return false;
  const auto use = [&](auto f) {
    if constexpr (!is_read_wide(decltype(f)::kFormat))
      for (int r = 0; r < rows; r += kPanel)
        stream<decltype(f), 1>(w, first_row + r, std::min(kPanel, rows - r), x, 0, out + r, 0, add);
  };
#if defined(__x86_64__)
  return gemv_wide(w, first_row, rows, x, out, add) || with_plain_unpacker(w.format, use) ||
         gemv_codebooks(w, first_row, rows, x, out, add);
#else
  return with_unpacker(w.format, use);
#endif
}

}  // namespace

void MINKE_FILL(gemv)(Kernels& table) { table.gemv = gemv; }

}  // namespace minke

#endif
