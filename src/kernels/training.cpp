#include "kernels/training.h"

#include "base/error.h"

namespace minke {

#define X(isa) TrainingKernels training_table_##isa();
MINKE_ISA_LIST
#undef X

const TrainingKernels& training_kernels_for(Isa isa) {
  MINKE_CHECK(supported(isa), "{} is not supported here", name(isa));
  switch (isa) {
#define X(isa_name)                                                   \
  case Isa::isa_name: {                                               \
    static const TrainingKernels table = training_table_##isa_name(); \
    return table;                                                     \
  }
    MINKE_ISA_LIST
#undef X
    default: break;
  }
  MINKE_CHECK(false, "no kernels were built for {}", name(isa));
}

}  // namespace minke
