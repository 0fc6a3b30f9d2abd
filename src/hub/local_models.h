#pragma once
// The models on this machine: what the hub's cache holds, whoever fetched it, and what lies in Minke's own
// folder.

#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace minke {

struct ModelPlaces {
  fs::path hub_cache;  // hub/cache.h
  fs::path models;     // of the user's own: GGUF files, and folders with one model each
};

struct LocalModel {
  std::string
      name;  // what resolve_model takes: "org/name", "org/name:Q4_K_M", "org/name@v2", "file" without .gguf
  bool safetensors = false;  // else GGUF
  std::string quant;         // "Q4_K_M", "FP8", "BF16"; empty where it cannot be told cheaply
  std::string architecture;  // as config.json or general.architecture has it; empty where it cannot be told
  fs::path path;             // the file, the first part of a split, or the folder
  std::vector<fs::path> files;  // all that belongs to it
  uint64_t bytes = 0;           // of those
  bool complete = true;         // no part or shard is missing
};

// All of them, the hub's first, by name. What cannot be read counts as not there.
std::vector<LocalModel> list_models(const ModelPlaces& places);

// The file or folder to run: a path as it is; a name list_models shows; "org/name", with a quantisation or a
// file where the cache has several (as choose_files); the last part of an "org/name" where only one cached
// model has it. Throws Error: nothing there and how to fetch it, several and which, or parts missing.
fs::path resolve_model(const ModelPlaces& places, std::string_view name);

struct RemovedModel {
  std::vector<fs::path> files;
  uint64_t bytes = 0;  // freed: contents that another revision or tool shares stay
};

// Removes a model by the name list_models shows. Throws Error: no such name, or it is being fetched right
// now.
RemovedModel remove_model(const ModelPlaces& places, std::string_view name);

}  // namespace minke
