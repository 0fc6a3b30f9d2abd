#pragma once
// Where a run stands, on disk: a safetensors file that a resumed run continues from bit for bit
// (docs/training.md).

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace minke {

// Beside the numbers themselves.
struct RunPosition {
  int stage = 0;
  int64_t step = 0;           // steps of the stage that are done
  int64_t seen = 0;           // sequences of the stage's data that are behind
  int64_t tokens = 0;         // of all stages
  double mean_loss = 0;       // running mean; 0: none yet
  int64_t judged = 0;         // steps in that mean
  double seconds = 0;         // spent training
  std::set<int64_t> skipped;  // steps of the stage whose data made the loss jump: they are passed over
  bool operator==(const RunPosition&) const = default;
};

Json to_json(const RunPosition& position);
RunPosition position_from_json(const Json& json);  // throws Error naming what is wrong with it

// What a checkpoint holds: numbers the optimiser changes, and its moments.
struct RunNumbers {
  std::span<float> weights, first, second;
};

// FOLDER/step-000123.safetensors, with `number` the step of the whole run. Written beside and moved into
// place; of the others only the newest `keep` stay. Throws Error naming the file: the disk is full, among
// others.
void write_checkpoint(const fs::path& folder, int64_t number, const std::string& identity,
                      const RunPosition& position, const RunNumbers& numbers, int keep);

// The newest one; nothing where there is none.
std::optional<fs::path> newest_checkpoint(const fs::path& folder);

// Its position alone, before there is memory for the numbers. Throws Error naming the file: damaged, or of a
// run with another config.
RunPosition read_position(const fs::path& file, const std::string& identity);
// All of it. Throws the same, also where a number is not the one that was written.
RunPosition read_checkpoint(const fs::path& file, const std::string& identity, const RunNumbers& numbers);

}  // namespace minke
