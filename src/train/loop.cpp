#include "train/loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "model/load.h"
#include "text/fingerprint.h"
#include "train/cost.h"
#include "train/log.h"
#include "train/report.h"
#include "train/save.h"
#include "train/shards.h"

namespace minke {
namespace {

constexpr int64_t kMostSkipped = 5;  // steps passed over one after the other: more is no matter of their data
constexpr int64_t kStepsToJudge = 20;  // whose losses make a mean that a jump is seen against
constexpr double kMeanKeeps = 0.98;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loop {
 public:
  Loop(const Context& ctx, const RunConfig& run, const RunHooks& hooks)
      : ctx_(ctx),
        run_(run),
        hooks_(hooks),
        identity_(run.identity()),
        groups_(make_groups(ctx.comm, run.parallel)) {}

  Outcome go(bool resume) {
    start(resume);
    if (leads()) log_ = std::make_unique<TrainLog>(log_file(run_), number());
    if (!resumed_) checkpoint();  // what a first jump rolls back to
    for (; at_.stage < static_cast<int>(run_.stages.size()); next_stage())
      if (train_stage() == Outcome::stopped) return Outcome::stopped;
    return Outcome::done;
  }

 private:
  const StageConfig& stage() const { return run_.stages[static_cast<size_t>(at_.stage)]; }
  // Steps of the whole run that are done.
  int64_t number() const {
    int64_t all = at_.step;
    for (int i = 0; i < at_.stage; ++i) all += run_.stages[static_cast<size_t>(i)].steps;
    return all;
  }
  // Files and words are rank 0's.
  bool leads() const { return groups_.all.rank == 0; }
  void say(const std::string& text) const {
    if (leads() && hooks_.say) hooks_.say(text);
  }
  bool stopped() const;

  void start(bool resume);
  fs::path find_checkpoint(bool resume);
  void restore(const fs::path& checkpoint);
  void open_stage();
  void next_stage();
  Outcome train_stage();
  bool step();
  bool jumped(const StepReport& report) const;
  void roll_back(const StepReport& report);
  void evaluate();
  void took(const StepReport* report, double seconds);
  void log(const Json& line) const {
    if (log_) log_->write(line);
  }
  RunNumbers numbers() const;
  void checkpoint();
  void save() const;

  const Context& ctx_;
  const RunConfig& run_;
  const RunHooks& hooks_;
  const std::string identity_;
  const RankGroups groups_;
  Parameters parameters_;
  std::unique_ptr<StageTrainer> trainer_;
  ReadSequence read_, reference_;
  HeldOut held_out_;
  RunPosition at_;
  bool resumed_ = false;
  Traffic before_;  // the step
  std::unique_ptr<TrainLog> log_;
};

// Numbers of a checkpoint together on rank 0; on others none.
struct WholeNumbers {
  WholeNumbers(const std::vector<DividedSet>& sets, bool leads) {
    for (size_t i = 0; leads && i < sets.size(); ++i)
      memory[i] = Memory(std::max<int64_t>(sets[i].count, 16) * static_cast<int64_t>(sizeof(float)),
                         "a checkpoint of all ranks");
    for (size_t i = 0; leads && i < sets.size(); ++i)
      spans[i] = {memory[i].as<float>(), static_cast<size_t>(sets[i].count)};
  }
  RunNumbers numbers() const { return {spans[0], spans[1], spans[2]}; }

  Memory memory[3];
  std::span<float> spans[3];
};

// The newest checkpoint, where there is one; rank 0 looks.
fs::path Loop::find_checkpoint(bool resume) {
  std::error_code failed;
  fs::create_directories(checkpoint_folder(run_), failed);
  if (failed) throw Error(fmt::format("cannot be made: {}", failed.message()), run_.output.string());
  const std::optional<fs::path> newest = newest_checkpoint(checkpoint_folder(run_));
  if (newest && !resume)
    throw Error("holds checkpoints of a run", run_.output.string(),
                "--resume goes on with it; another output folder begins anew");
  if (newest) at_ = read_position(*newest, identity_);
  if (at_.stage > static_cast<int>(run_.stages.size())) throw Error("has a stage too many", newest->string());
  return newest.value_or(fs::path());
}

void Loop::start(bool resume) {
  fs::path newest;
  if (leads()) newest = find_checkpoint(resume);
  newest = broadcast(groups_.all, newest.string());
  resumed_ = !newest.empty();
  at_ = position_from_json(parse_json(broadcast(groups_.all, to_string(to_json(at_)))));
  const ChosenWeights held = held_weights(run_.config, groups_.place);
  parameters_ = run_.from.empty() ? random_parameters(run_.config, run_.deviation, run_.seed, held)
                                  : parameters_of(load_model(run_.from), held);
  open_stage();
  if (!resumed_) return;
  restore(newest);
  say(fmt::format("goes on after step {} ({})", number(), newest.filename().string()));
}

// As the checkpoint has it, on all ranks; rank 0 reads.
void Loop::restore(const fs::path& checkpoint) {
  if (trainer_ && groups_.place.divided()) {
    const std::vector<DividedSet> sets = trainer_->divided();
    const WholeNumbers whole(sets, leads());
    if (leads()) at_ = read_checkpoint(checkpoint, identity_, whole.numbers());
    for (size_t i = 0; i < sets.size(); ++i)
      distribute(groups_.all, whole.spans[i], sets[i].count, sets[i].parts);
  } else {
    const RunNumbers all = numbers();
    if (leads()) at_ = read_checkpoint(checkpoint, identity_, all);
    for (const std::span<float> part : {all.weights, all.first, all.second})
      broadcast(groups_.all, std::as_writable_bytes(part));
  }
  at_ = position_from_json(parse_json(broadcast(groups_.all, to_string(to_json(at_)))));
}

// The optimiser of a stage begins with it: its moments are of what that stage trains.
void Loop::open_stage() {
  trainer_.reset();
  if (at_.stage == static_cast<int>(run_.stages.size())) return;
  trainer_ = std::make_unique<StageTrainer>(ctx_, groups_, run_, at_.stage, parameters_);
  read_ = hooks_.data(run_, stage());
  reference_ = stage().reference.weight > 0 ? hooks_.reference(run_, stage()) : ReadSequence{};
  held_out_ = stage().evaluate_steps > 0 && hooks_.held_out ? hooks_.held_out(run_, stage()) : HeldOut{};
}

void Loop::next_stage() {
  if (at_.stage + 1 == static_cast<int>(run_.stages.size())) save();
  RunPosition next;
  next.stage = at_.stage + 1;
  next.tokens = at_.tokens;
  next.seconds = at_.seconds;
  at_ = next;
  if (at_.stage == static_cast<int>(run_.stages.size())) return;
  open_stage();
  checkpoint();
}

Outcome Loop::train_stage() {
  while (at_.step < stage().steps) {
    if (!step()) continue;
    if (held_out_.sequences > 0 && (at_.step % stage().evaluate_steps == 0 || at_.step == stage().steps))
      evaluate();
    const bool stop = stopped();
    if (stop || at_.step == stage().steps || number() % run_.checkpoint_steps == 0) checkpoint();
    if (stop) return Outcome::stopped;
  }
  return Outcome::done;
}

// Whether any rank is to stop.
bool Loop::stopped() const {
  int64_t ranks[] = {hooks_.stopped && hooks_.stopped() ? 1 : 0};
  sum(groups_.all, ranks);
  return ranks[0] > 0;
}

void Loop::evaluate() {
  const double loss = trainer_->held_out_loss(held_out_.sequences, held_out_.read);
  if (!std::isfinite(loss)) return;  // the next step will say so
  log(JsonObject{{"step", number()}, {"stage", stage().name}, {"held_out_loss", loss}});
  say(fmt::format("step {}: held-out loss {:.4f}", number(), loss));
}

// False where the step was undone.
bool Loop::step() {
  const auto started = Clock::now();
  before_ = traffic(groups_.all);
  const int64_t current = at_.step + 1;
  const int sequences = batch_at(stage().batch, current);
  if (at_.skipped.contains(current)) {
    at_.step = current;
    at_.seen += sequences;
    took(nullptr, seconds_since(started));
    return true;
  }
  const StepReport report = trainer_->gradients(current, at_.seen, read_, reference_);
  if (jumped(report)) {
    roll_back(report);
    return false;
  }
  const auto skipped = std::distance(at_.skipped.begin(), at_.skipped.lower_bound(current));
  trainer_->update(report, at_.step - skipped);
  at_.step = current;
  at_.seen += sequences;
  at_.tokens += report.tokens;
  const double keeps =
      std::min(kMeanKeeps, static_cast<double>(at_.judged) / (static_cast<double>(at_.judged) + 1));
  at_.mean_loss = keeps * at_.mean_loss + (1 - keeps) * report.total;
  ++at_.judged;
  took(&report, seconds_since(started));
  return true;
}

bool Loop::jumped(const StepReport& report) const {
  if (!std::isfinite(report.total) || !std::isfinite(report.norm)) return true;
  return run_.spike > 0 && at_.judged >= kStepsToJudge && report.total > run_.spike * at_.mean_loss;
}

// Back to the newest checkpoint; the step's data will be passed over when it comes to it again. That is not
// on disk before the next checkpoint: a run that ends here finds the same jump again.
void Loop::roll_back(const StepReport& report) {
  const int64_t bad = at_.step + 1;
  const std::string what =
      std::isfinite(report.total) && std::isfinite(report.norm)
          ? fmt::format("loss {:.4g}, {:.4g} on average before", report.total, at_.mean_loss)
          : fmt::format("loss {:.4g}, gradients' norm {:.4g}", report.total, report.norm);
  int64_t before = 0;  // steps that were passed over right before
  while (at_.skipped.contains(bad - before - 1)) ++before;
  if (before >= kMostSkipped)
    throw Error(fmt::format("training diverges at step {} of stage '{}': {}", bad, stage().name, what),
                run_.path.string(), "a lower \"rate\", a longer \"warmup\" or a smaller \"clip\" may help");
  std::set<int64_t> skipped = at_.skipped;
  skipped.insert(bad);
  restore(leads() ? newest_checkpoint(checkpoint_folder(run_)).value() : fs::path());
  at_.skipped = skipped;
  say(fmt::format("step {}: {}; back to step {}, passing over that step's data", bad, what, at_.step));
  if (log_) log_->cut(number());
  log(JsonObject{{"rolled_back", bad}, {"to", at_.step}, {"stage", stage().name}, {"why", what}});
}

Json log_line(const Progressed& p) {
  const StageConfig& stage = p.run.stages[static_cast<size_t>(p.position.stage)];
  Json line = JsonObject{{"step", p.number}, {"stage", stage.name}, {"tokens", p.position.tokens}};
  if (!p.report) {
    line.set("skipped", true);
    return line;
  }
  const StepReport& r = *p.report;
  line.set("loss", r.losses.language);
  if (stage.trains_mtp()) line.set("mtp_loss", r.losses.mtp);
  if (stage.balance > 0) line.set("balance_loss", r.losses.balance);
  if (stage.indexer == IndexerPart::warms_up || stage.indexer == IndexerPart::learns)
    line.set("indexer_loss", r.losses.indexer);
  if (stage.reference.weight > 0) line.set("reference_loss", r.losses.reference);
  line.set("norm", r.norm);
  line.set("rate", r.rate);
  if (r.busiest > 0) line.set("expert_load", JsonArray{Json(r.idlest), Json(r.busiest)});
  line.set("tokens_per_second", static_cast<double>(r.tokens) / p.seconds);
  line.set("flops_per_second", p.flops / p.seconds);
  if (p.sent > 0) {
    line.set("sent_bytes", p.sent);
    line.set("waited_seconds", p.waited);
  }
  return line;
}

void Loop::took(const StepReport* report, double seconds) {
  at_.seconds += seconds;
  const Traffic now = traffic(groups_.all);
  double done[] = {static_cast<double>(now.bytes - before_.bytes), now.waited - before_.waited};
  sum(groups_.all, done);
  const Progressed progressed{run_,
                              at_,
                              number(),
                              report,
                              seconds,
                              report ? step_flops(stage(), report->tokens) : 0,
                              static_cast<int64_t>(done[0]),
                              done[1] / groups_.all.size};
  if (!leads()) return;
  log(log_line(progressed));
  if (hooks_.progress) hooks_.progress(progressed);
}

RunNumbers Loop::numbers() const {
  if (!trainer_) return {parameters_.values(), {}, {}};
  return {trainer_->trained(), trainer_->first(), trainer_->second()};
}

void Loop::checkpoint() {
  const std::vector<DividedSet> sets =
      groups_.place.divided() ? trainer_->divided() : std::vector<DividedSet>();
  const WholeNumbers whole(sets, leads());
  for (size_t i = 0; i < sets.size(); ++i) collect(groups_.all, sets[i].parts, whole.spans[i]);
  if (!leads()) return;
  write_checkpoint(checkpoint_folder(run_), number(), identity_, at_,
                   sets.empty() ? numbers() : whole.numbers(), run_.keep);
  write_file(run_.output / "report.html",
             report_html(read_file(log_file(run_)), run_.output.filename().string()));
}

void Loop::save() const {
  const StageConfig& last = run_.stages.back();
  Parameters whole;
  const bool divided = groups_.place.parallel.experts > 1;
  if (divided && leads()) whole = Parameters(last.config);
  if (divided) collect(groups_.all, trainer_->divided().front().parts, whole.values());
  if (!leads()) return;
  if (const Adapters* adapters = trainer_ ? trainer_->adapters() : nullptr) {
    save_adapters(run_.output / "adapter", last.config, last.lora, *adapters, run_.from.string());
    merge_adapters(ctx_, *adapters, parameters_.weights());
  }
  save_model(run_.output / "model", last.config, (divided ? whole : parameters_).weights(), run_.format,
             run_.tokenizer);
}

}  // namespace

fs::path checkpoint_folder(const RunConfig& run) { return run.output / "checkpoints"; }
fs::path log_file(const RunConfig& run) { return run.output / "log.jsonl"; }

namespace {

std::shared_ptr<TokenShards> open_shards(const RunConfig& run, const fs::path& folder,
                                         const std::string& name) {
  TokenShards::Expected expected;
  expected.vocab = run.config.vocab;
  if (!run.tokenizer.empty()) expected.tokenizer = fingerprint(Tokenizer::from_file(run.tokenizer.front()));
  return std::make_shared<TokenShards>(TokenShards::open(folder, name, expected));
}

void read_row(const TokenShards& shards, int64_t index, int length, int ahead, TrainBatch& batch) {
  TokenRow row;
  shards.read(index, length, ahead, row);
  add_sequence(batch, length, row.tokens, row.starts, row.loss);
}

ReadSequence in_random_order(const RunConfig& run, const std::shared_ptr<TokenShards>& shards, int sequence) {
  const RowOrder order(shards->rows(sequence), run.seed);
  return [shards, order, length = sequence](int64_t seen, int ahead, TrainBatch& batch) {
    read_row(*shards, order.row(seen), length, ahead, batch);
  };
}

}  // namespace

ReadSequence shard_sequences(const RunConfig& run, const StageConfig& stage) {
  return in_random_order(run, open_shards(run, stage.data, stage.split), stage.sequence);
}

ReadSequence reference_sequences(const RunConfig& run, const StageConfig& stage) {
  return in_random_order(run, open_shards(run, stage.reference.data, "train"), stage.sequence);
}

HeldOut held_out_shards(const RunConfig& run, const StageConfig& stage) {
  const auto shards = open_shards(run, stage.data, stage.held_out);
  return {shards->rows(stage.sequence),
          [shards, length = stage.sequence](int64_t row, int ahead, TrainBatch& batch) {
            read_row(*shards, row, length, ahead, batch);
          }};
}

int64_t data_bytes(const RunConfig& run) {
  std::set<std::pair<fs::path, std::string>> sets;
  for (const StageConfig& stage : run.stages) {
    sets.insert({stage.data, stage.split});
    if (stage.evaluate_steps > 0) sets.insert({stage.data, stage.held_out});
    if (stage.reference.weight > 0) sets.insert({stage.reference.data, "train"});
  }
  TokenShards::Expected unread;
  unread.check_content = false;
  int64_t bytes = 0;
  for (const auto& [folder, name] : sets) bytes += TokenShards::open(folder, name, unread).bytes();
  return bytes;
}

Outcome train(const Context& ctx, const RunConfig& run, const RunHooks& hooks, bool resume) {
  require_same_config(ctx.comm, run);
  require_divisible(run, ctx.comm.size);
  return Loop(ctx, run, hooks).go(resume);
}

}  // namespace minke
