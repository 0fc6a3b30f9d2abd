#pragma once
// What `minke train` is told: one file that names the model, the data and the stages, TOML where its name
// ends in .toml, else JSON (docs/training.md).

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "ops/matmul.h"
#include "train/adapter.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/parallel.h"
#include "train/schedule.h"

namespace minke {

// Other text, on which a model with adapters is held to what it says without them.
struct ReferenceConfig {
  fs::path data;      // folder of token shards
  double weight = 0;  // of the KL divergence; 0: none is computed
  int batch = 1;      // sequences of a step, beside those of the stage
};

// One stage: what is trained, on what, for how long.
struct StageConfig {
  std::string name;
  Config config;      // of the model in this stage: what it says of rope may differ from the others'
  fs::path data;      // folder of token shards
  std::string split;  // their name there
  int64_t steps = 0;
  int sequence = 0;  // tokens of a sequence
  int pass = 1;      // sequences of one pass; a step is as many passes as its batch needs
  BatchSchedule batch;
  RateSchedule rate;
  AdamW adamw;
  bool muon = false;  // moves the matrices between embedding and head, AdamW the rest
  IndexerPart indexer = IndexerPart::none;
  double mtp = 0;              // weight of the loss of multi-token prediction
  double balance = 0;          // alpha of the sequence-wise balance loss
  double bias_speed = 0;       // gamma of the router's bias
  int64_t evaluate_steps = 0;  // the held-out loss every so many steps; 0: never
  std::string held_out;        // the shards it is of
  LoraConfig lora;             // rank 0: the weights themselves are trained
  ReferenceConfig reference;

  bool trains_mtp() const { return mtp > 0 && config.mtp_layers > 0; }
};

struct RunConfig {
  fs::path path;
  Json text;      // the file, for what belongs to it
  Config config;  // of the model
  fs::path from;  // a folder or GGUF file whose weights it begins with; empty: random ones
  float deviation = 0.006f;
  uint64_t seed = 1;
  std::vector<StageConfig> stages;
  fs::path output;
  int threads = 0;  // 0: all there are
  Precision precision = Precision::bf16;
  bool recompute = false;
  ParallelConfig parallel;  // over ranks; decides nothing but the order of sums
  int64_t checkpoint_steps = 100;
  int keep = 2;                     // checkpoints
  double spike = 2;                 // a loss this many times its running mean is one; 0: none is
  Format format = Format::bf16;     // of the matrices that are saved
  std::vector<fs::path> tokenizer;  // files to lie beside the saved model

  int64_t steps() const;  // of all stages
  // All that decides about the numbers: a checkpoint is of one such text.
  std::string identity() const;
};

// Throws Error naming the file and the field at fault.
RunConfig read_run_config(const fs::path& path);
RunConfig parse_run_config(const Json& json, const fs::path& path);

}  // namespace minke
