// Two tokens or a few, and rows as files have them (few.h).

#include "kernels/tables.h"

#if defined(MINKE_ISA_scalar)

void minke::MINKE_FILL(few)(Kernels&) {}

#elif defined(MINKE_ISA_avx512_bf16)  // adds nothing to products of int8

void minke::MINKE_FILL(few)(Kernels& table) { fill_few_avx512_vnni(table); }

#elif defined(MINKE_ISA_avx2)

#include "kernels/few_floats.h"

namespace minke {
namespace {

bool few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add) {
  return x.grain == Grain::f32 && !w.interleaved && few_floats(w, first_row, rows, x, out, stride, add);
}

}  // namespace

void MINKE_FILL(few)(Kernels& table) { table.few = few; }

}  // namespace minke

#else

#include "kernels/few.h"
#include "kernels/few_floats.h"

namespace minke {
namespace {

bool few(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add) {
  if (w.interleaved) return false;
  if (x.grain == Grain::f32) return few_floats(w, first_row, rows, x, out, stride, add);
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
