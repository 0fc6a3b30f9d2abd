#include "train/parallel.h"

#include <fmt/format.h>

#include "base/error.h"
#include "comm/collectives.h"
#include "train/run_config.h"

namespace minke {

ChosenWeights held_weights(const Config& config, const RankPlace& place) {
  if (!config.moe || place.parallel.experts == 1) return {};
  return [place, experts = config.moe->router.experts](const WeightSlot& slot) {
    return place.holds(slot, experts);
  };
}

ChosenWeights both(const ChosenWeights& a, const ChosenWeights& b) {
  if (!a || !b) return a ? a : b;
  return [a, b](const WeightSlot& slot) { return a(slot) && b(slot); };
}

namespace {

void require_experts(const RunConfig& run, int ranks) {
  const int parts = run.parallel.experts;
  if (parts == 1) return;
  const std::string what = run.path.string() + ": parallel.experts";
  if (!run.config.moe) throw Error("the model has no experts to divide", what);
  if (run.config.moe->router.experts % parts != 0)
    throw Error(fmt::format("{} experts do not divide over {} ranks", run.config.moe->router.experts, parts),
                what);
  if (ranks % parts != 0)
    throw Error(fmt::format("{} ranks are no groups of {}", ranks, parts), what,
                ranks == 1 ? "mpirun or srun starts several" : "");
}

void require_batches(const RunConfig& run, const StageConfig& stage, int ranks) {
  for (int64_t step = 1; step <= stage.batch.ramp + 1; ++step)
    if (const int batch = batch_at(stage.batch, step); batch % ranks != 0)
      throw Error(fmt::format("{} sequences of step {} of stage '{}' do not divide over {} ranks", batch,
                              step, stage.name, ranks),
                  run.path.string() + ": batch", "every rank takes as many as the others");
}

}  // namespace

void require_divisible(const RunConfig& run, int ranks) {
  require_experts(run, ranks);
  if (ranks == 1) return;
  for (const StageConfig& stage : run.stages) {
    require_batches(run, stage, ranks);
    if (run.parallel.zero == 0) continue;
    const std::string what = run.path.string() + ": parallel.zero";
    if (stage.muon)
      throw Error("Muon needs matrices as a whole", what, "zero = 0, or \"optimizer\": \"adamw\"");
    if (stage.lora.rank > 0)
      throw Error("adapters have few moments, which are not divided", what, "zero = 0");
  }
}

void require_same_config(const Comm& comm, const RunConfig& run) {
  const std::string mine = fmt::format("{} {} {}", run.parallel.zero, run.parallel.experts, run.identity());
  int64_t others[] = {broadcast(comm, mine) == mine ? 0 : 1};
  sum(comm, others);
  if (others[0] > 0)
    throw Error(fmt::format("{} of {} ranks have another config than rank 0", others[0], comm.size),
                run.path.string());
}

RankGroups make_groups(const Comm& comm, const ParallelConfig& parallel) {
  RankGroups groups{{comm.rank, comm.size, parallel}, comm, Comm{}, comm};
  if (parallel.experts == 1) return groups;
  groups.experts = split(comm, groups.place.replica());
  groups.replicas = split(comm, groups.place.expert_rank());
  return groups;
}

}  // namespace minke
