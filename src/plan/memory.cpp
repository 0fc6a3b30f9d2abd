#include "plan/memory.h"

namespace minke {
namespace {

// Measured with a dozen vocabularies of 32,000 to 202,000 entries (docs/internals.md).
constexpr int64_t kBytesPerVocabularyEntry = 170;
constexpr int64_t kProgramBytes = 16 << 20;

}  // namespace

MemoryPlan plan_memory(const Model& model, const Limits& limits) {
  MemoryPlan plan;
  for (const TensorView& t : tensors_of(model)) plan.weights += static_cast<int64_t>(t.bytes.size());
  plan.made = model.made_bytes;
  plan.cache = page_bytes(kv_layout(model.config, limits.kv)) * pages_for(limits);
  plan.state = state_bytes(model.config, limits);
  plan.vocabulary = int64_t{model.config.vocab} * kBytesPerVocabularyEntry;
  plan.program = kProgramBytes;
  return plan;
}

int64_t cache_bytes_per_token(const Config& config, KvFormat format) {
  return page_bytes(kv_layout(config, format)) / kPageTokens;
}

}  // namespace minke
