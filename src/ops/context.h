#pragma once
// What every operation is given beside its operands.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/thread_pool.h"
#include "comm/comm.h"
#include "kernels/kernels.h"

namespace minke {

class Tap;

// Weights that have a copy on each NUMA node. Mats point at the originals.
struct Replicas {
  struct Part {
    const std::byte *begin, *end;  // the originals
    std::vector<ptrdiff_t> shift;  // to the copy of each node
  };
  std::vector<Part> parts;  // by address, apart from each other
  std::vector<int> node_of_thread;
};

struct Context {
  ThreadPool& pool;
  const Kernels& kernels;
  Comm comm;
  bool round_activations = true;  // as grain_for says before they meet weights; false: f32 throughout
  const Replicas* replicas = nullptr;
  Tap* tap = nullptr;  // shown what meets each matrix, while a pass with a tap runs
};

// The matrix where it is nearest to the thread.
inline Mat near(const Context& ctx, const Mat& w, int thread) {
  if (!ctx.replicas) return w;
  const auto& parts = ctx.replicas->parts;
  const auto after = std::upper_bound(parts.begin(), parts.end(), w.data,
                                      [](const std::byte* p, const auto& part) { return p < part.begin; });
  if (after == parts.begin() || w.data >= after[-1].end) return w;  // made at load
  Mat m = w;
  m.data += after[-1].shift[static_cast<size_t>(ctx.replicas->node_of_thread[static_cast<size_t>(thread)])];
  return m;
}

}  // namespace minke
