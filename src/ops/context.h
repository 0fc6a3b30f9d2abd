#pragma once
// What every operation is given beside its operands.

#include "base/thread_pool.h"
#include "comm/comm.h"
#include "kernels/kernels.h"

namespace minke {

class Tap;

struct Context {
  ThreadPool& pool;
  const Kernels& kernels;
  Comm comm;
  bool round_activations = true;  // to int8 before they meet integer weights; false: f32 throughout
  Tap* tap = nullptr;             // shown what meets each matrix, while a pass with a tap runs
};

}  // namespace minke
