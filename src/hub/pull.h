#pragma once
// Fetching a model from the hub into the cache.

#include <functional>

#include "hub/download.h"
#include "hub/model_name.h"

namespace minke {

struct PullProgress {
  std::string file;  // in the repository
  PullPhase phase = PullPhase::fetching;
  uint64_t bytes = 0, total = 0;          // of this file
  uint64_t all_bytes = 0, all_total = 0;  // of all files that belong to the model
};

struct PullResult {
  fs::path
      path;  // what to run: the GGUF file (the first part of a split), or the folder of a safetensors model
  std::string commit;
  std::string quant;               // of a GGUF model, as its name tells it
  std::vector<std::string> files;  // in the repository
  uint64_t bytes = 0;              // of all files
  uint64_t fetched = 0;            // of those, what came over the network now
};

// Fetches what choose_files (hub/file_choice.h) finds `name` to mean, as far as it is not in the cache.
// Throws Error naming the model or the file; then what was fetched is kept, and the same call goes on with
// it.
PullResult pull(const HubOptions& options, const ModelName& name,
                const std::function<void(const PullProgress&)>& progress = {});

}  // namespace minke
