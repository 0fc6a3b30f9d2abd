#pragma once
// A run from its first stage to its last: steps, checkpoints, what to do when a loss jumps, and the log.

#include <functional>
#include <optional>

#include "train/checkpoint.h"
#include "train/stage.h"

namespace minke {

// Sequences that are not trained on.
struct HeldOut {
  int64_t sequences = 0;
  ReadSequence read;
};

// What a run tells while it goes on.
struct Progressed {
  const RunConfig& run;
  const RunPosition& position;  // after the step
  int64_t number;               // of the step, of all stages together
  const StepReport* report;     // null: the step was passed over
  double seconds;               // it took
  double flops;                 // of it (train/cost.h)
  int64_t sent = 0;             // bytes that ranks sent each other in it, all together
  double waited = 0;            // seconds a rank did nothing but wait for others, their mean
};

struct RunHooks {
  // Where the sequences of a stage come from. Throws Error naming the data at fault.
  std::function<ReadSequence(const RunConfig&, const StageConfig&)> data;
  std::function<HeldOut(const RunConfig&, const StageConfig&)> held_out = {};  // of stages that evaluate
  std::function<ReadSequence(const RunConfig&, const StageConfig&)> reference = {};  // of those with one
  std::function<void(const Progressed&)> progress = {};
  std::function<void(const std::string&)> say = {};  // events, for people: a checkpoint, a loss that jumped
  std::function<bool()> stopped = {};                // asked after every step
};

enum class Outcome : uint8_t { done, stopped };

// Trains until all stages are done, or `stopped`: a checkpoint is written then. resume: from the newest
// checkpoint in the output folder, where there is one. Without it a folder that holds checkpoints is refused.
// At the end the model (or its adapters) lies in OUTPUT/model. Throws Error: what files or data bring, and a
// loss that keeps jumping or is not a number.
// On several ranks (ctx.comm) all call it; files are read and written by rank 0, which also says what hooks
// are told. Data is read by all. An Error may be thrown on one rank alone: then the others wait for it in
// vain, and the job is to be ended.
Outcome train(const Context& ctx, const RunConfig& run, const RunHooks& hooks, bool resume);

// The folders of token shards that a stage names.
ReadSequence shard_sequences(const RunConfig& run, const StageConfig& stage);
ReadSequence reference_sequences(const RunConfig& run, const StageConfig& stage);
HeldOut held_out_shards(const RunConfig& run, const StageConfig& stage);
// Of all shards that a run reads: they are mapped, beside the memory of its numbers.
int64_t data_bytes(const RunConfig& run);

fs::path checkpoint_folder(const RunConfig& run);
fs::path log_file(const RunConfig& run);

}  // namespace minke
