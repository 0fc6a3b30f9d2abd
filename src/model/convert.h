#pragma once
// From a Hugging Face folder to a GGUF file, and back (docs/converting.md).

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/load.h"
#include "model/quantize.h"

namespace minke {

// A tensor of the target, and the weights it is made of.
struct TargetTensor {
  TensorView to;                           // without bytes
  std::string rule_name;                   // its name in GGUF, by which --type knows it
  Transform transform = Transform::as_is;  // what reading the target does, and writing undoes
  std::vector<WeightSlot> slots;           // none: the frequencies of rope_freqs.weight
  const Importance* importance = nullptr;  // of its columns, where it is rounded to blocks
  std::optional<Format> wanted;            // where rows do not fill the blocks of what was asked for
};

struct ConversionOptions {
  TypeRules types;
  bool mtp = true;  // with the layers for multi-token prediction
  int64_t shard_bytes = 5'000'000'000;
  std::string source;                            // what users call the model that is read
  const ImportanceMatrix* importance = nullptr;  // of the columns of weights; outlives the conversion
  fs::path importance_file;
};

struct Conversion {
  Container to = Container::gguf;
  Config config;                      // as the target says it
  std::vector<TargetTensor> tensors;  // in the order they are written
  std::vector<size_t> shard_ends;     // one past the last tensor of each file
  std::string source, types;
  const ImportanceMatrix* importance = nullptr;
  fs::path importance_file;
  std::vector<std::string> notes;  // what is not carried over, for people to read
  int64_t bytes_before = 0, bytes_after = 0;
};

// What is to be written; `model` may be loaded dry. A folder becomes GGUF, a GGUF file a folder. Reads the
// vectors of a GGUF file, the rest only when it is written. Throws Error: rules that concern nothing or that
// the target has no type for, a model that the target has no words for.
Conversion plan_conversion(const Model& model, const ConversionOptions& options);

struct ConversionRun {
  int threads = 1;
  bool overwrite = false;
  uint64_t sync_bytes = uint64_t{64} << 20;  // an interruption costs this much work at most
  std::function<void(int64_t done, int64_t all)> checking, progress;  // in bytes of the target
  std::function<bool()> stopped;                                      // asked often
};

struct Converted {
  bool whole = false;  // false where it was stopped
  int64_t kept = 0;    // bytes that an earlier run had written
  int64_t written = 0;
};

// Writes it to a folder beside the target, TARGET.unfinished, and moves it into place when it is whole: one
// tensor, or one expert of it, in memory at a time. What an earlier run of the same conversion left there is
// checked and taken up. Throws Error: the target is there or cannot be written, the disk is full, a tensor
// has values that are not finite.
Converted write_conversion(const Model& model, const Conversion& conversion, const fs::path& target,
                           const ConversionRun& run);

}  // namespace minke
