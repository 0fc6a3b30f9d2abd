#include <chrono>
#include <cmath>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/cpu.h"
#include "cli/command.h"
#include "cli/job.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "kernels/isas.h"
#include "plan/counts.h"
#include "train/cost.h"
#include "train/loop.h"
#include "train/measure.h"

namespace minke {
namespace {

struct Flags {
  std::string config, isa;
  int threads = 0, ranks = 0;
  bool dry_run = false, resume = false, json = false;
};

using Clock = std::chrono::steady_clock;

std::string duration_text(double seconds) {
  const auto minutes = static_cast<int64_t>(seconds / 60);
  if (minutes < 1) return fmt::format("{:.0f} s", seconds);
  if (minutes < 120) return fmt::format("{} min", minutes);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// What a run takes, measured where it is a matter of speed.
struct Estimate {
  RankPlace place;
  Counts counts;
  RunMemory memory;
  double flops = 0, seconds = 0, peak = 0;
  int64_t tokens = 0;
  std::vector<StepSpeed> stages;
  std::vector<double> traffic;  // of a step of each stage
};

// `ranks` may be more than there are: then the speed is that of one with its part of a step.
Estimate estimate(const Context& ctx, const RunConfig& run, int ranks) {
  Estimate e;
  e.place = {0, ranks, run.parallel};
  e.counts = count(run.config);
  e.memory = run_memory(run, ctx.pool.size(), e.place);
  e.flops = run_flops(run);
  e.tokens = run_tokens(run);
  e.peak = peak_flops(ctx, run.precision) * ranks;
  RunConfig measured = run;
  const int missing = ranks / ctx.comm.size;
  for (StageConfig& stage : measured.stages) stage.batch.last = std::max(1, stage.batch.last / missing);
  for (int i = 0; i < static_cast<int>(run.stages.size()); ++i) {
    const StageConfig& stage = run.stages[static_cast<size_t>(i)];
    e.stages.push_back(measure_stage(ctx, measured, i, 3));
    e.stages.back().tokens_per_second *= missing;
    e.stages.back().flops_per_second *= missing;
    e.traffic.push_back(ranks > 1 ? step_traffic(run, stage, e.place) : 0);
    const double tokens =
        static_cast<double>(sequences_before(stage.batch, stage.steps + 1)) * stage.sequence;
    e.seconds += tokens / e.stages.back().tokens_per_second;
  }
  return e;
}

Json to_json(const Estimate& e, const RunConfig& run) {
  Json json =
      JsonObject{{"parameters", e.counts.total + e.counts.mtp}, {"active_parameters", e.counts.active}};
  json.set("memory", JsonObject{{"weights", e.memory.weights},
                                {"gradients", e.memory.gradients},
                                {"moments", e.memory.moments},
                                {"activations", e.memory.activations},
                                {"messages", e.memory.messages},
                                {"total", e.memory.total()}});
  json.set("tokens", e.tokens);
  json.set("flops", e.flops);
  json.set("seconds", e.seconds);
  json.set("peak_flops_per_second", e.peak);
  json.set("ranks", e.place.ranks);
  if (e.place.divided()) json.set("checkpoint_memory", checkpoint_memory(run, e.place));
  JsonArray stages;
  for (size_t i = 0; i < e.stages.size(); ++i)
    stages.push_back(JsonObject{{"name", run.stages[i].name},
                                {"steps", run.stages[i].steps},
                                {"tokens_per_second", e.stages[i].tokens_per_second},
                                {"flops_per_second", e.stages[i].flops_per_second},
                                {"sent_bytes", std::round(e.traffic[i])}});
  json.set("stages", std::move(stages));
  return json;
}

void print(const Estimate& e, const RunConfig& run, int measured_on) {
  fmt::print("parameters   {:.2f} M, {:.2f} M of them active for a token\n",
             static_cast<double>(e.counts.total + e.counts.mtp) / 1e6,
             static_cast<double>(e.counts.active) / 1e6);
  const bool alone = e.place.ranks == 1;
  fmt::print("memory       {}{} (weights {}, gradients {}, moments {}, activations {}{})\n",
             bytes_text(e.memory.total()), alone ? "" : " a rank", bytes_text(e.memory.weights),
             bytes_text(e.memory.gradients), bytes_text(e.memory.moments), bytes_text(e.memory.activations),
             alone ? "" : ", messages " + bytes_text(e.memory.messages));
  if (e.place.divided())
    fmt::print("checkpoints  {} more on rank 0 while one is read or written\n",
               bytes_text(checkpoint_memory(run, e.place)));
  for (size_t i = 0; !alone && i < e.stages.size(); ++i)
    fmt::print("traffic      {} a step of {}, sent by {} ranks together\n",
               bytes_text(static_cast<int64_t>(e.traffic[i])), run.stages[i].name, e.place.ranks);
  fmt::print("work         {:.3g} tokens, {:.3g} floating-point operations\n", static_cast<double>(e.tokens),
             e.flops);
  for (size_t i = 0; i < e.stages.size(); ++i)
    fmt::print("{:<12} {} steps, {:.0f} tokens/s, {:.1f} GFLOP/s, {:.0f} % of the measured {} peak\n",
               run.stages[i].name, run.stages[i].steps, e.stages[i].tokens_per_second,
               e.stages[i].flops_per_second / 1e9, 100 * e.stages[i].flops_per_second / e.peak,
               run.precision == Precision::bf16 ? "bf16" : "f32");
  fmt::print("time         about {}\n", duration_text(e.seconds));
  if (e.place.ranks > measured_on)
    fmt::print("Speeds are those of {} here times {}, without the time of the traffic.\n",
               measured_on == 1 ? "one rank" : "the ranks", e.place.ranks / measured_on);
}

// A line every other second, and of the last step.
class Report {
 public:
  Report(const RunConfig& run, double peak, bool json) : run_(run), peak_(peak), json_(json) {}

  void operator()(const Progressed& p) {
    ++steps_;
    seconds_ += p.seconds;
    if (p.report) {
      tokens_ += p.report->tokens;
      flops_ += p.flops;
    }
    const bool last = p.number == run_.steps();
    if (json_ || (!last && Clock::now() - shown_ < std::chrono::seconds(2)) || !p.report) return;
    shown_ = Clock::now();
    const double left = seconds_ / steps_ * static_cast<double>(run_.steps() - p.number);
    std::string line =
        fmt::format("{} {}/{}  loss {:.4f}", run_.stages[static_cast<size_t>(p.position.stage)].name,
                    p.number, run_.steps(), p.report->losses.language);
    if (p.report->losses.mtp > 0) line += fmt::format("  mtp {:.4f}", p.report->losses.mtp);
    if (p.report->losses.indexer > 0) line += fmt::format("  indexer {:.4f}", p.report->losses.indexer);
    line += fmt::format("  norm {:.3g}  rate {:.3g}", p.report->norm, p.report->rate);
    if (p.report->busiest > 0)
      line += fmt::format("  load {:.2f}-{:.2f}", p.report->idlest, p.report->busiest);
    line +=
        fmt::format("  {:.0f} tokens/s  {:.0f} % of peak  {} left", static_cast<double>(tokens_) / seconds_,
                    100 * flops_ / seconds_ / peak_, duration_text(left));
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }

 private:
  const RunConfig& run_;
  double peak_;
  bool json_;
  Clock::time_point shown_ = Clock::now();
  int64_t steps_ = 0, tokens_ = 0;
  double seconds_ = 0, flops_ = 0;
};

// What the flags and the config leave open of a run on this rank.
struct Setup {
  Setup(const Flags& flags, const RunConfig& run, const Comm& comm)
      : ranks(flags.ranks > 0 ? flags.ranks : comm.size),
        threads(flags.threads > 0 ? flags.threads
                : run.threads > 0 ? run.threads
                                  : usable_cores()) {
    if (flags.ranks > 0 && !flags.dry_run)
      throw Error("is for --dry-run", "--ranks", "mpirun or srun starts ranks");
    if (ranks % comm.size != 0)
      throw Error(fmt::format("{} are no multiple of the {} there are", ranks, comm.size), "--ranks");
    require_divisible(run, ranks);
    require_run_memory(run, threads, {comm.rank, ranks, run.parallel}, ranks_on_this_machine());
  }
  int ranks, threads;
};

int dry_run(const Context& ctx, const Flags& flags, const RunConfig& run, int ranks) {
  for (const StageConfig& stage : run.stages) {  // whether the data is there
    shard_sequences(run, stage);
    if (stage.reference.weight > 0) reference_sequences(run, stage);
  }
  const Estimate e = estimate(ctx, run, ranks);
  if (ctx.comm.rank > 0) return kExitOk;
  if (flags.json)
    fmt::print("{}\n", to_string(to_json(e, run)));
  else
    print(e, run, ctx.comm.size);
  return kExitOk;
}

int run_training(const Flags& flags, Signals* signals, const Comm& comm) {
  const RunConfig run = read_run_config(flags.config);
  const Setup setup(flags, run, comm);
  ThreadPool pool(setup.threads);
  const Context ctx{pool, kernels_for(chosen_isa(flags.isa).value_or(usable_isas().back())), comm};
  if (flags.dry_run) return dry_run(ctx, flags, run, setup.ranks);
  RunHooks hooks;
  Report report(run, peak_flops(ctx, run.precision) * comm.size, flags.json);
  hooks.data = shard_sequences;
  hooks.held_out = held_out_shards;
  hooks.reference = reference_sequences;
  hooks.progress = [&](const Progressed& p) { report(p); };
  hooks.say = [](const std::string& text) { fmt::print(stderr, "minke train: {}\n", text); };
  hooks.stopped = [&] { return signals->wait(std::chrono::milliseconds(0)) == Signal::end; };
  const Outcome outcome = train(ctx, run, hooks, flags.resume);
  if (comm.rank > 0) return outcome == Outcome::stopped ? kExitInterrupted : kExitOk;
  if (outcome == Outcome::stopped) {
    fmt::print(stderr, "minke train: stopped, with a checkpoint in {}; --resume goes on\n",
               checkpoint_folder(run).string());
    return kExitInterrupted;
  }
  if (flags.json)
    fmt::print("{}\n",
               to_string(JsonObject{{"model", (run.output / "model").string()}, {"steps", run.steps()}}));
  else
    fmt::print("the model is in {}\n", (run.output / "model").string());
  return kExitOk;
}

int train_on_ranks(const Flags& flags) {
  std::optional<Signals> signals;  // before there are other threads
  if (!flags.dry_run) signals.emplace();
  return run_job([&](const Comm& comm) { return run_training(flags, signals ? &*signals : nullptr, comm); });
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("train", "Train a model, or go on with one");
  command.add_option("CONFIG", flags->config, "JSON or TOML file that names model, data and stages")
      ->required();
  command.add_flag(
      "--dry-run", flags->dry_run,
      "Say what it takes: parameters, memory, operations, and hours as three steps of each stage suggest");
  command.add_option("--ranks", flags->ranks, "With --dry-run: for so many ranks, without them")
      ->check(CLI::Range(1, 1 << 20));
  command.add_flag("--resume", flags->resume, "Go on from the newest checkpoint, where there is one");
  add_threads(command, flags->threads, "the config's, else one per physical core");
  add_isa(command, flags->isa);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke train tiny.json --dry-run\n  minke train tiny.json\n  minke train tiny.json "
      "--resume\n  mpirun -n 4 minke train tiny.json\n"
      "Ctrl-C or SIGTERM ends it after the step, with a checkpoint.");
  command.callback([flags, &action] { action = [flags] { return train_on_ranks(*flags); }; });
}

}  // namespace minke
