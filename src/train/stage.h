#pragma once
// One stage of a run: its numbers in memory, and a step of them.

#include <functional>
#include <memory>

#include "train/gathering.h"
#include "train/gradient_sum.h"
#include "train/muon.h"
#include "train/pass.h"
#include "train/run_config.h"

namespace minke {

// Adds the sequence that comes after `seen` others to the batch, with `ahead` tokens behind it as targets.
using ReadSequence = std::function<void(int64_t seen, int ahead, TrainBatch& batch)>;

// What a step did, or would have done.
struct StepReport {
  Losses losses;
  double norm = 0, rate = 0;  // of the gradients before clipping; the learning rate
  int64_t tokens = 0;
  int sequences = 0;
  // Of the routers: the load of the busiest expert and of the idlest, as multiples of the mean of its layer;
  // 0 where there are none.
  double busiest = 0, idlest = 0;
  double total = 0;  // the loss that was made smaller
};

// Numbers of a checkpoint that are divided over ranks.
struct DividedSet {
  int64_t count;  // as one process has them
  std::vector<HeldPart> parts;
};

// What a stage changes: the model's weights, or adapters beside them.
class StageTrainer {
 public:
  // `parameters` are the run's, those this rank holds; they and the groups outlive it. Throws Error where
  // memory cannot be had.
  StageTrainer(const Context& ctx, const RankGroups& groups, const RunConfig& run, int stage,
               Parameters& parameters);

  // Loss and gradients of step `step` (1, 2, ...) whose sequences begin after `seen` others; nothing is
  // changed. `reference`: the text of a stage that has one, of which each step takes the next. The report is
  // of all ranks together, and the same on all of them to the bit.
  StepReport gradients(int64_t step, int64_t seen, const ReadSequence& read,
                       const ReadSequence& reference = {});
  // Mean cross-entropy of the next token over sequences that are not trained on.
  double held_out_loss(int64_t sequences, const ReadSequence& read);
  // Takes the step whose gradients were the last computed. `updates`: how many came before in this stage.
  void update(const StepReport& report, int64_t updates);

  // What it changes and keeps, for checkpoints. Where it is divided over ranks: weights, first and second
  // moments.
  std::vector<DividedSet> divided() const;
  std::span<float> trained() const { return adapters_ ? adapters_->weights.values() : parameters_.values(); }
  std::span<float> first() const { return adapters_ ? adapters_->first.values() : first_.values(); }
  std::span<float> second() const { return adapters_ ? adapters_->second.values() : second_.values(); }
  const Adapters* adapters() const { return adapters_ ? &adapters_->weights : nullptr; }
  const StageConfig& config() const { return stage_; }

 private:
  struct AdapterSets {
    Adapters weights, gradients, first, second;
  };
  Trainee trainee() const;
  Objective objective(std::span<const TrainBatch> passes) const;
  void hold_to_reference(int64_t step, const ReadSequence& read, StepReport& report);
  std::vector<TrainBatch> read_passes(int64_t seen, int sequences, int ahead, const ReadSequence& read) const;
  void add_up_ranks(StepReport& report);
  void divide_moments();
  void share_weights();
  void balance(StepReport& report) const;

  const Context& ctx_;
  const RankGroups& groups_;
  const RunConfig& run_;
  const StageConfig& stage_;
  Parameters& parameters_;
  Parameters gradients_, first_, second_;
  std::unique_ptr<AdapterSets> adapters_;
  std::vector<TrainedTensor> tensors_;  // those that Muon moves stand last
  std::span<const TrainedTensor> of_adamw_, of_muon_;
  Memory muon_space_;
  std::unique_ptr<GradientSum> sum_;  // where there are several ranks
  std::vector<TrainedTensor> own_;    // what this rank answers for
  Memory divided_moments_;
  TrainState state_;
  ExpertLoads loads_;
};

// Which weights a stage trains, and which of these have a second moment: all but those that Muon moves.
ChosenWeights trained_weights(const StageConfig& stage);
ChosenWeights adam_weights(const StageConfig& stage);
// Sequences that a rank computes at once.
int pass_sequences(const StageConfig& stage, int ranks);
TrainLimits limits_of(const RunConfig& run, const StageConfig& stage, int threads, const RankPlace& place);

}  // namespace minke
