#include "train/cost.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/memory.h"
#include "plan/counts.h"
#include "train/buffers.h"
#include "train/gradient_sum.h"
#include "train/parameters.h"
#include "train/stage.h"

namespace minke {
namespace {

RunMemory stage_memory(const RunConfig& run, const StageConfig& stage, int threads, const RankPlace& place) {
  RunMemory m;
  const ChosenWeights held = held_weights(stage.config, place), trained = both(trained_weights(stage), held);
  const int64_t adapters = adapter_bytes(stage.config, stage.lora);
  m.weights = parameter_bytes(stage.config, held) + adapters;
  m.gradients = parameter_bytes(stage.config, trained) + adapters;
  m.moments = m.gradients + parameter_bytes(stage.config, both(adam_weights(stage), held)) + adapters;
  if (stage.muon) {
    std::vector<MatrixSize> sizes;
    for_each_weight(stage.config, [&](const WeightSlot& slot) {
      if (trained(slot) && is_hidden_matrix(slot)) sizes.push_back({slot.rows, slot.cols});
    });
    m.moments += muon_bytes(sizes);
  }
  const TrainLimits limits = limits_of(run, stage, threads, place);
  m.activations = train_state_bytes(stage.config, limits) + expert_rows_bytes(stage.config, limits);
  if (place.ranks == 1) return m;
  int64_t moments = 0;
  for (const GradientBucket& b : gradient_buckets(stage.config, trained)) {
    const int ranks = b.experts ? place.replicas() : place.ranks;
    const int64_t share = ring_share(b.count(), ranks, 0).count() * 4;
    moments += 2 * share;
    if (ranks > 1) m.messages += share;
  }
  if (place.divides_moments()) m.moments = moments;
  if (adapters > 0) m.messages = adapters / place.ranks;
  return m;
}

// Sequences of the steps of a stage.
int64_t sequences(const StageConfig& stage) { return sequences_before(stage.batch, stage.steps + 1); }

// Of the layers with experts, in the steps of a stage after its ramp.
double experts_traffic(const StageConfig& stage, const RankPlace& place, bool recompute) {
  const Config& c = stage.config;
  if (!c.moe || place.parallel.experts == 1) return 0;
  const int64_t sequences = stage.batch.last;
  double bytes = 0;
  for (int i = 0; i < c.layers + (stage.trains_mtp() ? 1 : 0); ++i)
    if (c.sparse(i))  // the last row of a document has no next token
      bytes += expert_traffic(sequences * (stage.sequence - (i == c.layers ? 1 : 0)), c.moe->router.active,
                              c.dim, place.parallel.experts, recompute && i < c.layers ? 2 : 1);
  return bytes;
}

// Operations for a token: so many for each weight it meets, and for each product of its attention.
double token_flops(const StageConfig& stage, double weight, double attended) {
  const Counts counts = count(stage.config);
  double weights = static_cast<double>(counts.active_without_embedding());
  if (stage.config.tied) weights += static_cast<double>(counts.embedding);  // as the head
  int layers = stage.config.layers;
  if (stage.trains_mtp()) {
    weights +=
        static_cast<double>(counts.mtp_active) + static_cast<double>(stage.config.vocab) * stage.config.dim;
    ++layers;
  }
  // Half of a sequence's positions are visible on average; in decompressed form, whatever serving would take.
  const Config& c = stage.config;
  const int64_t widths = c.mla ? c.mla->nope + c.mla->rope + c.mla->v : 2 * c.head_dim;
  const double attention =
      static_cast<double>(layers) * c.heads * static_cast<double>(widths) * stage.sequence / 2.0;
  return weight * weights + attended * attention;
}

// Of a step's text that adapters are held to the model on: there twice, and back once.
double reference_flops(const StageConfig& stage) {
  if (stage.reference.weight == 0) return 0;
  return static_cast<double>(stage.reference.batch) * stage.sequence * token_flops(stage, 6, 8);
}

double own_flops(const StageConfig& stage, int64_t tokens) {
  const double learned = stage.lora.rank > 0 ? 4 : 6;  // frozen weights need no gradient
  return static_cast<double>(tokens) * token_flops(stage, learned, 6);
}

}  // namespace

RunMemory run_memory(const RunConfig& run, int threads, const RankPlace& place) {
  RunMemory most;
  for (const StageConfig& stage : run.stages) {
    const RunMemory m = stage_memory(run, stage, threads, place);
    if (m.total() > most.total()) most = m;
  }
  return most;
}

int64_t checkpoint_memory(const RunConfig& run, const RankPlace& place) {
  int64_t most = 0;
  for (const StageConfig& stage : run.stages)
    most =
        std::max(most, parameter_bytes(stage.config) + parameter_bytes(stage.config, trained_weights(stage)) +
                           parameter_bytes(stage.config, adam_weights(stage)));
  return place.divided() ? most : 0;
}

double step_traffic(const RunConfig& run, const StageConfig& stage, const RankPlace& place) {
  const ChosenWeights trained = both(trained_weights(stage), held_weights(stage.config, place));
  double bytes = gradient_traffic(gradient_buckets(stage.config, trained), place);
  if (stage.lora.rank > 0)
    bytes = sum_traffic(static_cast<double>(adapter_bytes(stage.config, stage.lora)), place.ranks);
  return bytes * place.ranks + experts_traffic(stage, place, run.recompute);
}

double step_flops(const StageConfig& stage, int64_t tokens) {
  return own_flops(stage, tokens) + reference_flops(stage);
}

double run_flops(const RunConfig& run) {
  double all = 0;
  for (const StageConfig& stage : run.stages)
    all += own_flops(stage, sequences(stage) * stage.sequence) +
           static_cast<double>(stage.steps) * reference_flops(stage);
  return all;
}

int64_t run_tokens(const RunConfig& run) {
  int64_t all = 0;
  for (const StageConfig& stage : run.stages) all += sequences(stage) * stage.sequence;
  return all;
}

void require_run_memory(const RunConfig& run, int threads, const RankPlace& place, int ranks_here) {
  const int64_t needed = run_memory(run, threads, place).total() * ranks_here, there = machine_memory();
  if (needed <= there) return;
  throw Error(
      fmt::format("{} MB of memory are needed, the machine has {}", needed / 1'000'000, there / 1'000'000),
      run.path.string(), "a smaller \"pass\", or \"recompute\": true, takes less");
}

}  // namespace minke
