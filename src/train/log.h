#pragma once
// The log of a run: one JSON object a line, one line a step (docs/training.md).

#include <cstdio>

#include "base/file.h"
#include "base/json.h"

namespace minke {

class TrainLog {
 public:
  // Appends to the file, after taking away lines of steps after `last_step`: those are done again. Throws
  // Error naming the file.
  TrainLog(const fs::path& path, int64_t last_step);
  TrainLog(const TrainLog&) = delete;
  TrainLog& operator=(const TrainLog&) = delete;
  ~TrainLog();

  void write(const Json& line);  // throws Error naming the file
  void cut(int64_t last_step);   // takes away lines of steps after this one

 private:
  fs::path path_;
  std::FILE* file_ = nullptr;
};

}  // namespace minke
