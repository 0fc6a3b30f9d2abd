#pragma once
// The machine's limits, measured by the same threads that do the work (docs/performance.md).

#include "base/memory.h"
#include "ops/context.h"

namespace minke {

// What the machine can do at most, all threads together, per second.
struct Limit {
  double read_bytes = 0;       // from memory, the best of 1 to 16 streams a thread with and without prefetch
  double int8_multiplies = 0;  // multiply-adds of bytes, in registers
  double bf16_multiplies = 0;  // of pairs of bf16; of f32 where no instruction takes such pairs
  double f32_multiplies = 0;
};

// Multiply-adds a second of one of the kernels' spins, all threads together; so many rounds on each.
double spin_rate(const Context& ctx, int64_t (*spin)(int64_t), int64_t rounds);

// Measures in short slices, to be taken between slices of the work they are compared with.
class Probe {
 public:
  explicit Probe(const Context& ctx, int64_t bytes = int64_t{2} << 30);

  // One slice of each kind, some milliseconds in all; the best way of reading is found at the first call.
  Limit slice();

 private:
  double read_once(int streams, int64_t ahead);

  const Context& ctx_;
  Memory memory_;
  int64_t next_ = 0;  // where the next reading slice begins: each reads bytes that no cache holds
  int streams_ = 0;
  int64_t ahead_ = 0;
};

}  // namespace minke
