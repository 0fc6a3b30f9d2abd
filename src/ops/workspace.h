#pragma once
// Memory that operations borrow while they run. Nothing in it outlives a call; model/state.cpp sizes it.

#include <cstddef>
#include <cstdint>

namespace minke {

struct Workspace {
  std::byte* operands = nullptr;  // activations prepared for products, shared by all threads
  int64_t operands_bytes = 0;
  std::byte* scratch = nullptr;  // thread t's at scratch + t * scratch_bytes
  int64_t scratch_bytes = 0;
  float* partials = nullptr;  // attention over several spans: [units][kMaxQueries][width + 2]
  int partial_units = 0, partial_width = 0;
  float* adapted = nullptr;  // [rows][adapted_width]: what the A of adapters gave
  int adapted_width = 0;

  std::byte* scratch_of(int thread) const { return scratch + thread * scratch_bytes; }
};

}  // namespace minke
