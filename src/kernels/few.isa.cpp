// Two tokens or a few, and rows as files have them (few.h).

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar) || defined(MINKE_ISA_avx2)

void minke::MINKE_FILL(few)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few)(Kernels& table) { fill_few_avx512_vnni(table); }

#else

#include "kernels/few.h"

namespace minke {
namespace {

bool few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add) {
  if (w.interleaved || x.grain != Grain::int8) return false;
  if (x.tokens > most_of(w.format)) return false;
  return with_plain_unpacker(w.format, [&](auto f) {
    using F = decltype(f);
    few_tokens<F, AsFiled<F>, 2>(w, first_row, rows, x, out, stride, add);
  });
}

}  // namespace

void MINKE_FILL(few)(Kernels& table) { table.few = few; }

}  // namespace minke

#endif
