#include "plan/memory.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"

namespace minke {
namespace {

// Measured with a dozen vocabularies of 32,000 to 202,000 entries (docs/internals.md).
constexpr int64_t kBytesPerVocabularyEntry = 170;
constexpr int64_t kProgramBytes = 10 << 20;

}  // namespace

MemoryPlan plan_memory(const Model& model, const Limits& limits) {
  MemoryPlan plan;
  for (const TensorView& t : tensors_of(model)) plan.weights += static_cast<int64_t>(t.bytes.size());
  plan.made = model.made_bytes;
  plan.copied = model.placement.copied;
  plan.weights = std::max<int64_t>(0, plan.weights - model.placement.replaced);
  const Config config = as_run(model.config, limits);
  plan.cache = page_bytes(kv_layout(config, limits.kv)) * pages_for(limits);
  plan.state = state_bytes(config, limits);
  plan.vocabulary = int64_t{model.config.vocab} * kBytesPerVocabularyEntry;
  plan.program = kProgramBytes;
  return plan;
}

void require_memory(const Model& model, const InstanceOptions& options) {
  Limits limits = resolved_limits(model, options);
  const auto unmapped = [&] {
    const MemoryPlan plan = plan_memory(model, limits);
    // What is locked cannot be given back for a while, as mapped files are.
    return plan.total() - std::max<int64_t>(0, plan.weights - model.placement.locked);
  };
  const int64_t needed = unmapped(), there = machine_memory();
  if (needed <= there) return;
  const int asked = limits.context;
  while (unmapped() > there && limits.context > kPageTokens) limits.context /= 2;
  const auto gigabytes = [](int64_t n) { return fmt::format("{:.2f} GB", static_cast<double>(n) / 1e9); };
  throw Error(
      fmt::format("{} are needed beside the weights, and this machine has {}", gigabytes(needed),
                  gigabytes(there)),
      fmt::format("a context of {} tokens", asked),
      unmapped() <= there ? fmt::format("--ctx {} would fit", limits.context) : "a smaller model would fit");
}

int64_t cache_bytes_per_token(const Config& config, const KvFormats& formats) {
  return page_bytes(kv_layout(config, formats)) / kPageTokens;
}

}  // namespace minke
