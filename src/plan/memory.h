#pragma once
// What a run takes of memory, from the visitors the run itself is made by.

#include <cstdint>

#include "model/instance.h"

namespace minke {

struct MemoryPlan {
  int64_t weights = 0;     // mapped from the files
  int64_t made = 0;        // made at load
  int64_t copied = 0;      // of the weights: copies in the program's own memory
  int64_t cache = 0;       // keys and values, for the whole context
  int64_t state = 0;       // buffers of a step
  int64_t vocabulary = 0;  // tokenizer
  int64_t program = 0;     // code, libraries, and what is small
  int64_t total() const { return weights + made + copied + cache + state + vocabulary + program; }
};

// For a loaded model; limits as resolved_limits gives them.
MemoryPlan plan_memory(const Model& model, const Limits& limits);

// Throws Error where a run needs more memory, beside what is mapped, than this machine has; says which
// context would fit.
void require_memory(const Model& model, const InstanceOptions& options);

int64_t cache_bytes_per_token(const Config& config, const KvFormats& formats);

}  // namespace minke
