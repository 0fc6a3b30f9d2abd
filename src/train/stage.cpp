#include "train/stage.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/router_backward.h"

namespace minke {
namespace {

bool is_indexer(Role role) {
  return role == Role::index_q || role == Role::index_k || role == Role::index_k_norm ||
         role == Role::index_k_bias || role == Role::index_weights;
}

}  // namespace

ChosenWeights trained_weights(const StageConfig& stage) {
  const bool model = stage.indexer != IndexerPart::warms_up && stage.lora.rank == 0,
             indexer = stage.indexer == IndexerPart::warms_up || stage.indexer == IndexerPart::learns,
             mtp = stage.trains_mtp();
  const int layers = stage.config.layers;
  return [=](const WeightSlot& slot) {
    if (slot.layer >= layers && !mtp) return false;
    if (slot.role == Role::router_bias) return false;
    return is_indexer(slot.role) ? indexer : model;
  };
}

ChosenWeights adam_weights(const StageConfig& stage) {
  return [trained = trained_weights(stage), muon = stage.muon](const WeightSlot& slot) {
    return trained(slot) && !(muon && is_hidden_matrix(slot));
  };
}

TrainLimits limits_of(const RunConfig& run, const StageConfig& stage, int threads) {
  TrainLimits limits;
  limits.rows = stage.sequence * stage.most_sequences();
  limits.longest = stage.sequence;
  limits.threads = threads;
  limits.mtp = stage.trains_mtp();
  limits.recompute = run.recompute;
  limits.indexer = stage.indexer != IndexerPart::none;
  limits.adapter_rank = stage.lora.rank;
  limits.reference = stage.reference.weight > 0;
  return limits;
}

StageTrainer::StageTrainer(const Context& ctx, const RunConfig& run, int stage, Parameters& parameters)
    : ctx_(ctx),
      run_(run),
      stage_(run.stages[static_cast<size_t>(stage)]),
      parameters_(parameters),
      gradients_(stage_.config, trained_weights(stage_)),
      first_(stage_.config, trained_weights(stage_)),
      second_(stage_.config, adam_weights(stage_)),
      state_(make_train_state(stage_.config, limits_of(run, stage_, ctx.pool.size()))),
      loads_(no_loads(stage_.config, stage_.trains_mtp())) {
  const Config& c = stage_.config;
  if (stage_.lora.rank > 0) {
    adapters_ = std::make_unique<AdapterSets>(AdapterSets{random_adapters(c, stage_.lora, run.seed),
                                                          Adapters(c, stage_.lora), Adapters(c, stage_.lora),
                                                          Adapters(c, stage_.lora)});
    tensors_ = trained_tensors(adapters_->weights, adapters_->gradients, adapters_->first, adapters_->second);
  } else {
    tensors_ =
        trained_tensors(c, parameters_.weights(), gradients_.weights(), first_.weights(), second_.weights());
  }
  const auto moved =
      std::ranges::stable_partition(tensors_, [](const TrainedTensor& t) { return t.second != nullptr; });
  of_muon_ = {moved.begin(), moved.end()};
  of_adamw_ = std::span(tensors_).first(tensors_.size() - of_muon_.size());
  if (!of_muon_.empty()) muon_space_ = Memory(muon_bytes(of_muon_), "the optimiser's iteration");
}

Trainee StageTrainer::trainee() const {
  Trainee t{stage_.config, parameters_.weights(), gradients_.weights()};
  if (!adapters_) return t;
  t.adapters = &adapters_->weights;
  t.adapter_gradients = &adapters_->gradients;
  return t;
}

// Means are over the whole step, of which a pass is a part.
Objective StageTrainer::objective(std::span<const TrainBatch> passes) const {
  Objective o;
  o.language = stage_.indexer == IndexerPart::warms_up ? 0 : 1;
  o.mtp = stage_.trains_mtp() ? stage_.mtp / stage_.config.mtp_layers : 0;
  o.balance = stage_.balance;
  o.indexer = stage_.indexer;
  o.counted = o.counted_second = o.sequences = o.rows = 0;
  for (const TrainBatch& batch : passes) {
    o.counted += batch.counted();
    o.counted_second += batch.counted_second();
    o.sequences += static_cast<int64_t>(batch.sequences.size());
    o.rows += batch.rows();
  }
  return o;
}

// Adds to losses and gradients.
void StageTrainer::hold_to_reference(int64_t step, const ReadSequence& read, StepReport& report) {
  const int batch = stage_.reference.batch;
  PassOptions options{run_.precision, {}};
  options.objective.language = 0;
  options.objective.reference = stage_.reference.weight;
  options.objective.counted_reference = 0;
  std::vector<TrainBatch> passes;
  for (int i = 0; i < batch; ++i) {
    if (i % stage_.most_sequences() == 0) passes.emplace_back();
    read((step - 1) * batch + i, 1, passes.back());
  }
  for (const TrainBatch& pass : passes) options.objective.counted_reference += pass.counted();
  for (const TrainBatch& pass : passes)
    report.losses.add(train_pass(ctx_, options, trainee(), state_, pass, nullptr));
}

StepReport StageTrainer::gradients(int64_t step, int64_t seen, const ReadSequence& read,
                                   const ReadSequence& reference) {
  StepReport report;
  report.sequences = batch_at(stage_.batch, step);
  report.rate = rate_at(stage_.rate, step, stage_.steps);
  std::vector<TrainBatch> passes;
  for (int i = 0; i < report.sequences; ++i) {
    if (i % stage_.pass == 0) passes.emplace_back();
    read(seen + i, stage_.trains_mtp() ? 2 : 1, passes.back());
  }
  const PassOptions options{run_.precision, objective(passes)};
  report.tokens = options.objective.rows;
  std::ranges::fill(gradients_.values(), 0.0f);
  if (adapters_) std::ranges::fill(adapters_->gradients.values(), 0.0f);
  for (auto& layer : loads_) std::ranges::fill(layer, 0);
  for (const TrainBatch& batch : passes)
    report.losses.add(train_pass(ctx_, options, trainee(), state_, batch, &loads_));
  if (stage_.reference.weight > 0) hold_to_reference(step, reference, report);
  report.norm = gradient_norm(ctx_, tensors_);
  report.total = options.objective.language * report.losses.language +
                 options.objective.mtp * report.losses.mtp + report.losses.balance + report.losses.indexer +
                 stage_.reference.weight * report.losses.reference;
  balance(report);
  return report;
}

double StageTrainer::held_out_loss(int64_t sequences, const ReadSequence& read) {
  PassOptions options{run_.precision, {}};
  options.objective.indexer = stage_.indexer;
  double sum = 0;
  int64_t counted = 0;
  for (int64_t first = 0; first < sequences; first += stage_.pass) {
    TrainBatch batch;
    for (int64_t i = first; i < std::min(first + stage_.pass, sequences); ++i) read(i, 1, batch);
    options.objective.counted = std::max<int64_t>(batch.counted(), 1);
    const double mean = evaluate_pass(ctx_, options, trainee(), state_, batch).language;
    sum += mean * static_cast<double>(batch.counted());
    counted += batch.counted();
  }
  return counted > 0 ? sum / static_cast<double>(counted) : 0;
}

void StageTrainer::balance(StepReport& report) const {
  for (const std::vector<int64_t>& layer : loads_) {
    if (layer.empty()) continue;
    double sum = 0;
    for (const int64_t load : layer) sum += static_cast<double>(load);
    const double mean = sum / static_cast<double>(layer.size());
    if (mean == 0) continue;
    const auto [least, most] = std::ranges::minmax(layer);
    if (report.busiest == 0) report.idlest = static_cast<double>(least) / mean;
    report.busiest = std::max(report.busiest, static_cast<double>(most) / mean);
    report.idlest = std::min(report.idlest, static_cast<double>(least) / mean);
  }
}

void StageTrainer::update(const StepReport& report, int64_t updates) {
  const double factor = clip_factor(stage_.adamw, report.norm);
  adamw_step(ctx_, stage_.adamw, report.rate, updates + 1, factor, of_adamw_);
  if (!of_muon_.empty()) {
    MuonOptions options;
    options.decay = stage_.adamw.decay;
    muon_step(ctx_, run_.precision, options, report.rate, factor, of_muon_, muon_space_);
  }
  if (stage_.bias_speed == 0 || adapters_) return;
  for (size_t i = 0; i < loads_.size(); ++i)
    if (const Mat& bias = parameters_.weights().layers[i].router_bias; bias && !loads_[i].empty())
      update_router_bias(loads_[i], static_cast<float>(stage_.bias_speed), data(bias));
}

}  // namespace minke
