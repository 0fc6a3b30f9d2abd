#include "kernels/kernels.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/isas.h"
#include "kernels/operand.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// MINKE_ISA_LIST is the build's: X(scalar) X(avx2) ... A table that this processor cannot run is not even
// filled: the functions that fill it are compiled for its instructions too.
std::vector<Kernels> make_tables() {
  std::vector<Kernels> tables;
#define X(isa_name)                         \
  if (supported(Isa::isa_name)) {           \
    Kernels table{};                        \
    table.isa = Isa::isa_name;              \
    fill_operand_##isa_name(table);         \
    fill_gemm_##isa_name(table);            \
    fill_floats_##isa_name(table);          \
    fill_gemv_##isa_name(table);            \
    fill_few_##isa_name(table);             \
    fill_few_interleaved_##isa_name(table); \
    fill_vector_##isa_name(table);          \
    fill_probe_##isa_name(table);           \
    fill_attention_##isa_name(table);       \
    fill_kv_rows_##isa_name(table);         \
    fill_dense_##isa_name(table);           \
    fill_training_##isa_name(table);        \
    tables.push_back(table);                \
  }
  MINKE_ISA_LIST
#undef X
  return tables;
}

const std::vector<Kernels>& tables() {
  static const std::vector<Kernels> made = make_tables();
  return made;
}

}  // namespace

std::vector<Isa> usable_isas() {
  std::vector<Isa> found;
  for (const Isa isa : supported_isas())
    if (std::ranges::any_of(tables(), [&](const Kernels& table) { return table.isa == isa; }))
      found.push_back(isa);
  return found;
}

Grain grain_for(Format weights) {
  if (weights == Format::bf16 || weights == Format::f8_e4m3) return Grain::bf16;
  return info(weights).block == 1 ? Grain::f32 : Grain::int8;
}

int64_t operand_bytes(Grain grain, int tokens, int cols) {
  return (grain == Grain::int8 ? 2 : 1) * token_bytes(grain, false) * tokens * blocks_of(cols);
}

const Kernels& kernels_for(Isa isa) {
  MINKE_CHECK(supported(isa), "{} is not supported here", name(isa));
  for (const Kernels& table : tables())
    if (table.isa == isa) return table;
  MINKE_CHECK(false, "no kernels were built for {}", name(isa));
}

}  // namespace minke
