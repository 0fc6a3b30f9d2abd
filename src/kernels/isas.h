#pragma once
// Which tables of kernels can be asked for.

#include <vector>

#include "base/cpu.h"

namespace minke {

// What was built and this processor has, ascending; never empty. A build for fuzzing has the reference alone.
std::vector<Isa> usable_isas();

}  // namespace minke
