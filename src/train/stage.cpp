#include "train/stage.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/router_backward.h"
#include "train/shards.h"

namespace minke {
namespace {

bool is_indexer(Role role) {
  return role == Role::index_q || role == Role::index_k || role == Role::index_k_norm ||
         role == Role::index_k_bias || role == Role::index_weights;
}

ChosenWeights held_and(const ChosenWeights& chosen, const StageConfig& stage, const RankPlace& place) {
  return both(chosen, held_weights(stage.config, place));
}

// Those whose moments this rank keeps whole.
ChosenWeights whole_moments(const ChosenWeights& chosen, const StageConfig& stage, const RankPlace& place) {
  if (place.divides_moments()) return [](const WeightSlot&) { return false; };
  return held_and(chosen, stage, place);
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

int pass_sequences(const StageConfig& stage, int ranks) {
  return std::min(stage.pass, std::max(1, stage.batch.last / ranks));
}

TrainLimits limits_of(const RunConfig& run, const StageConfig& stage, int threads, const RankPlace& place) {
  TrainLimits limits;
  limits.rows = stage.sequence * pass_sequences(stage, place.ranks);
  limits.longest = stage.sequence;
  limits.threads = threads;
  limits.mtp = stage.trains_mtp();
  limits.recompute = run.recompute;
  limits.indexer = stage.indexer != IndexerPart::none;
  limits.adapter_rank = stage.lora.rank;
  limits.reference = stage.reference.weight > 0;
  limits.expert_ranks = place.parallel.experts;
  return limits;
}

StageTrainer::StageTrainer(const Context& ctx, const RankGroups& groups, const RunConfig& run, int stage,
                           Parameters& parameters)
    : ctx_(ctx),
      groups_(groups),
      run_(run),
      stage_(run.stages[static_cast<size_t>(stage)]),
      parameters_(parameters),
      gradients_(stage_.config, held_and(trained_weights(stage_), stage_, groups.place)),
      first_(stage_.config, whole_moments(trained_weights(stage_), stage_, groups.place)),
      second_(stage_.config, whole_moments(adam_weights(stage_), stage_, groups.place)),
      state_(make_train_state(stage_.config, limits_of(run, stage_, ctx.pool.size(), groups.place))),
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
  if (groups_.place.ranks > 1) {
    const std::span<float> all = adapters_ ? adapters_->gradients.values() : gradients_.values();
    auto buckets = gradient_buckets(c, held_and(trained_weights(stage_), stage_, groups_.place));
    if (adapters_) buckets = {{embedding_unit(c), false, 0, static_cast<int64_t>(all.size())}};
    sum_ = std::make_unique<GradientSum>(groups_, std::move(buckets), all);
    own_ = sum_->own(tensors_);
    if (groups_.place.divides_moments()) divide_moments();
  }
  if (groups_.place.divides_moments()) return;
  const auto moved =
      std::ranges::stable_partition(tensors_, [](const TrainedTensor& t) { return t.second != nullptr; });
  of_muon_ = {moved.begin(), moved.end()};
  of_adamw_ = std::span(tensors_).first(tensors_.size() - of_muon_.size());
  if (!of_muon_.empty()) muon_space_ = Memory(muon_bytes(of_muon_), "the optimiser's iteration");
}

void StageTrainer::divide_moments() {
  int64_t count = 0;
  for (const TrainedTensor& t : own_) count += t.count();
  divided_moments_ =
      Memory(std::max<int64_t>(2 * count, 16) * static_cast<int64_t>(sizeof(float)), "moments");
  float* next = divided_moments_.as<float>();
  for (TrainedTensor& t : own_) {
    t.first = next;
    t.second = next + count;
    next += t.count();
  }
  of_adamw_ = own_;
}

// Every rank stepped its own part; the gradients have served, and carry the new weights.
void StageTrainer::share_weights() {
  for (const TrainedTensor& t : own_) std::copy_n(t.weight, t.count(), t.gradient);
  sum_->share_own();
  for (const TrainedTensor& t : tensors_) std::copy_n(t.gradient, t.count(), t.weight);
}

std::vector<DividedSet> StageTrainer::divided() const {
  const RankPlace& place = groups_.place;
  const bool first = place.replica() == 0;
  const ChosenWeights trained = trained_weights(stage_), adam = adam_weights(stage_);
  const auto count = [&](const ChosenWeights& chosen) {
    return parameter_bytes(stage_.config, chosen) / static_cast<int64_t>(sizeof(float));
  };
  std::vector<DividedSet> sets = {
      {count({}), held_parts(stage_.config, {}, parameters_.weights(), place.rank, first)},
      {count(trained), {}},
      {count(adam), {}}};
  if (place.divides_moments()) {
    sets[1].parts = moment_parts(stage_.config, trained, own_, &TrainedTensor::first);
    sets[2].parts = moment_parts(stage_.config, adam, own_, &TrainedTensor::second);
  } else {
    sets[1].parts = held_parts(stage_.config, trained, first_.weights(), place.rank, first);
    sets[2].parts = held_parts(stage_.config, adam, second_.weights(), place.rank, first);
  }
  return sets;
}

Trainee StageTrainer::trainee() const {
  Trainee t{stage_.config, parameters_.weights(), gradients_.weights()};
  if (groups_.place.parallel.experts > 1) t.expert_ranks = &groups_.experts;
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
  int64_t all[] = {o.counted, o.counted_second, o.sequences, o.rows};
  sum(groups_.all, all);
  o.counted = all[0];
  o.counted_second = all[1];
  o.sequences = all[2];
  o.rows = all[3];
  return o;
}

// This rank's part of a step's sequences.
std::vector<TrainBatch> StageTrainer::read_passes(int64_t seen, int sequences, int ahead,
                                                  const ReadSequence& read) const {
  const RankPlace& place = groups_.place;
  const RankShare share = rank_share(seen, sequences, place.rank, place.ranks);
  const int most = pass_sequences(stage_, place.ranks);
  std::vector<TrainBatch> passes;
  for (int64_t i = share.first; i < share.last; ++i) {
    if ((i - share.first) % most == 0) passes.emplace_back();
    read(i, ahead, passes.back());
  }
  return passes;
}

// What ranks found, in one message: losses, loads, and the squares of the gradients each answers for.
void StageTrainer::add_up_ranks(StepReport& report) {
  Losses& l = report.losses;
  std::vector<double> all = {l.language, l.mtp,       l.balance,
                             l.indexer,  l.reference, gradient_squares(ctx_, own_)};
  for (const auto& layer : loads_) all.insert(all.end(), layer.begin(), layer.end());
  sum(groups_.all, std::span(all));
  l = {all[0], all[1], all[2], all[3], all[4]};
  report.norm = std::sqrt(all[5]);
  auto next = all.begin() + 6;
  for (auto& layer : loads_)
    for (int64_t& load : layer) load = static_cast<int64_t>(*next++);
}

// Adds to losses and gradients, of this rank's part of the sequences.
void StageTrainer::hold_to_reference(int64_t step, const ReadSequence& read, StepReport& report) {
  const int batch = stage_.reference.batch;
  const std::vector<TrainBatch> passes = read_passes((step - 1) * batch, batch, 1, read);
  int64_t counted[] = {0};
  for (const TrainBatch& pass : passes) counted[0] += pass.counted();
  sum(groups_.all, counted);
  PassOptions options{run_.precision, {}};
  options.objective.language = 0;
  options.objective.reference = stage_.reference.weight;
  options.objective.counted_reference = counted[0];
  for (const TrainBatch& pass : passes)
    report.losses.add(train_pass(ctx_, options, trainee(), state_, pass, nullptr));
}

StepReport StageTrainer::gradients(int64_t step, int64_t seen, const ReadSequence& read,
                                   const ReadSequence& reference) {
  StepReport report;
  report.sequences = batch_at(stage_.batch, step);
  report.rate = rate_at(stage_.rate, step, stage_.steps);
  const std::vector<TrainBatch> passes =
      read_passes(seen, report.sequences, stage_.trains_mtp() ? 2 : 1, read);
  PassOptions options{run_.precision, objective(passes)};
  report.tokens = options.objective.rows;
  std::ranges::fill(gradients_.values(), 0.0f);
  if (adapters_) std::ranges::fill(adapters_->gradients.values(), 0.0f);
  for (auto& layer : loads_) std::ranges::fill(layer, 0);
  if (stage_.reference.weight > 0) hold_to_reference(step, reference, report);
  for (const TrainBatch& batch : passes) {
    if (sum_ && &batch == &passes.back()) options.complete = [&](int unit) { sum_->ready(unit); };
    report.losses.add(train_pass(ctx_, options, trainee(), state_, batch, &loads_));
  }
  if (sum_) {
    sum_->finish();
    add_up_ranks(report);
  } else {
    report.norm = gradient_norm(ctx_, tensors_);
  }
  report.total = options.objective.language * report.losses.language +
                 options.objective.mtp * report.losses.mtp + report.losses.balance + report.losses.indexer +
                 stage_.reference.weight * report.losses.reference;
  balance(report);
  return report;
}

double StageTrainer::held_out_loss(int64_t sequences, const ReadSequence& read) {
  PassOptions options{run_.precision, {}};
  options.objective.indexer = stage_.indexer;
  const int64_t pass = pass_sequences(stage_, groups_.place.ranks), each = pass * groups_.place.ranks;
  double all[] = {0, 0};  // of the losses, and how many
  for (int64_t round = 0; round < sequences; round += each) {
    // A rank for which there is nothing left goes along with the first sequences again: its experts are
    // asked.
    const int64_t begin = round + groups_.place.rank * pass, first = begin < sequences ? begin : 0;
    TrainBatch batch;
    for (int64_t i = first; i < std::min(first + pass, sequences); ++i) read(i, 1, batch);
    options.objective.counted = std::max<int64_t>(batch.counted(), 1);
    const double mean = evaluate_pass(ctx_, options, trainee(), state_, batch).language;
    if (begin >= sequences) break;
    all[0] += mean * static_cast<double>(batch.counted());
    all[1] += static_cast<double>(batch.counted());
  }
  sum(groups_.all, all);
  return all[1] > 0 ? all[0] / all[1] : 0;
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
  if (groups_.place.divides_moments()) share_weights();
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
