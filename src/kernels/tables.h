#pragma once
// How the instruction sets' object files hand in their functions: each x.isa.cpp is compiled once per
// instruction set and defines fill_x_ISA, which sets its members of the table.

#include "kernels/kernels.h"

#define MINKE_JOIN_(a, b) a##b
#define MINKE_JOIN(a, b) MINKE_JOIN_(a, b)
#define MINKE_FILL(part) MINKE_JOIN(fill_##part##_, MINKE_ISA)

#define MINKE_DECLARE_FILLS(isa)             \
  void fill_operand_##isa(Kernels&);         \
  void fill_gemm_##isa(Kernels&);            \
  void fill_floats_##isa(Kernels&);          \
  void fill_gemv_##isa(Kernels&);            \
  void fill_few_##isa(Kernels&);             \
  void fill_few_interleaved_##isa(Kernels&); \
  void fill_vector_##isa(Kernels&);          \
  void fill_attention_##isa(Kernels&);       \
  void fill_kv_rows_##isa(Kernels&);         \
  void fill_dense_##isa(Kernels&);           \
  void fill_training_##isa(Kernels&);        \
  void fill_probe_##isa(Kernels&);

namespace minke {

MINKE_DECLARE_FILLS(scalar)
MINKE_DECLARE_FILLS(neon)
MINKE_DECLARE_FILLS(avx2)
MINKE_DECLARE_FILLS(avx512)
MINKE_DECLARE_FILLS(avx512_vnni)
MINKE_DECLARE_FILLS(avx512_bf16)

}  // namespace minke
