#include "train/measure.h"

#include <algorithm>
#include <chrono>

#include "base/random.h"
#include "ops/probe.h"
#include "train/cost.h"
#include "train/stage.h"

namespace minke {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double peak_flops(const Context& ctx, Precision precision) {
  const bool bf16 = precision == Precision::bf16 && ctx.kernels.spin_bf16;
  int64_t (*const spin)(int64_t) = bf16 ? ctx.kernels.spin_bf16 : ctx.kernels.spin_f32;
  constexpr int64_t kRounds = 200'000;
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, 2 * spin_rate(ctx, spin, kRounds));
  return best;
}

StepSpeed measure_stage(const Context& ctx, const RunConfig& run, int number, int steps) {
  const StageConfig& stage = run.stages[static_cast<size_t>(number)];
  const RankGroups groups = make_groups(ctx.comm, ctx.comm.size > 1 ? run.parallel : ParallelConfig{});
  Parameters parameters =
      random_parameters(run.config, run.deviation, run.seed, held_weights(run.config, groups.place));
  StageTrainer trainer(ctx, groups, run, number, parameters);
  const ReadSequence read = [&](int64_t seen, int ahead, TrainBatch& batch) {
    Random random(run.seed, static_cast<uint64_t>(seen));
    std::vector<Token> tokens(static_cast<size_t>(stage.sequence + ahead));
    for (Token& t : tokens) t = static_cast<Token>(random.below(static_cast<uint64_t>(run.config.vocab)));
    const std::vector<uint8_t> loss(tokens.size(), 1);
    add_sequence(batch, stage.sequence, tokens, std::vector<int32_t>{0}, loss);
  };
  std::vector<double> seconds;
  int64_t tokens = 0;
  for (int i = 0; i <= steps; ++i) {
    const double start = now();
    const StepReport report =
        trainer.gradients(stage.steps, i, read, read);  // batches as they are in the end
    trainer.update(report, i);
    if (i > 0) seconds.push_back(now() - start);
    tokens = report.tokens;
  }
  std::ranges::nth_element(seconds, seconds.begin() + steps / 2);
  const double median = seconds[static_cast<size_t>(steps / 2)];
  return {static_cast<double>(tokens) / median, step_flops(stage, tokens) / median};
}

}  // namespace minke
