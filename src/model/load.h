#pragma once
// From files to a model that can run.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/memory.h"
#include "base/topology.h"
#include "formats/gguf.h"
#include "formats/hf_folder.h"
#include "model/config.h"
#include "model/roles.h"
#include "model/weights.h"
#include "ops/context.h"
#include "text/tokenizer.h"

namespace minke {

// Large pages for the weights: never; where files come in on them by themselves; or whatever it takes.
enum class HugePages : uint8_t { off, automatic, on };

// On machines of several NUMA nodes: weights wherever they come to lie; pages of every node in turn; or a
// copy on each.
enum class Numa : uint8_t { off, spread, replicate };

struct LoadOptions {
  std::set<std::string> allowed;  // config fields and tensors to pass over though they are unknown
  bool check_values = true;       // look for NaN bytes in FP8 weights, which reads them all
  bool dry = false;               // check and count everything, make nothing: what is not mapped stays null
  HugePages huge_pages = HugePages::automatic;
  fs::path adapters = {};  // a PEFT folder, whose adapters come with the model (adapters.h); empty: none
  std::function<void(int64_t done, int64_t all)> progress = {};  // weights looked at, and how many there are
};

// What was done to a model's weights after loading (placement.h).
struct Placement {
  int64_t copied = 0;       // bytes of copies in the program's own memory, all together
  int64_t replaced = 0;     // bytes of the files that copies stand for
  int64_t interleaved = 0;  // of them, bytes in the order that products read
  int64_t locked = 0;       // bytes of the files that must stay in memory
  std::string sample;       // sample_of the files, where bytes have another order now
  std::vector<Memory> copies;
  Replicas replicas;                        // no parts: there are none
  std::shared_ptr<const Topology> machine;  // where threads and cache are to be spread over several nodes
  std::vector<int> node_of_thread;          // then
};

// A model's files, open, and its weights as views into them. Weights that cannot be mapped as they are were
// made at load.
struct Model {
  fs::path path;
  std::variant<Gguf, HfFolder> files;
  Config config;
  Weights weights;
  Arena made;              // owns what is not mapped
  int64_t made_bytes = 0;  // of `made`, or what they would be after a dry run
  int64_t made_for_layout =
      0;  // of these, matrices the file holds in a layout that cannot be used; 0 for most models
  Placement placement;

  Container container() const { return files.index() == 0 ? Container::gguf : Container::hugging_face; }
  const Gguf* gguf() const { return std::get_if<Gguf>(&files); }
  const HfFolder* folder() const { return std::get_if<HfFolder>(&files); }
};

// A .gguf file or a Hugging Face folder. Throws Error naming file, and field or tensor: a missing or unknown
// one, a wrong shape with expected and actual, NaN in FP8.
Model load_model(const fs::path& path, const LoadOptions& options = {});

// The files and the config alone, without weights.
Model open_model(const fs::path& path, const LoadOptions& options = {});

// One weight of an open model, for programs that hold one at a time: a view of its file, or made in `made`.
// FP8 bytes are not looked at. Throws as load_model.
Mat load_weight(const Model& model, const WeightSlot& slot, Arena& made);

// The model's tokenizer. Throws Error naming the file: none there, or one this program cannot use.
Tokenizer load_tokenizer(const Model& model);

// The model's files.
std::span<const MappedFile> files_of(const Model& model);

// All tensors of the model's files.
std::span<const TensorView> tensors_of(const Model& model);

// Names, formats, shapes and a few bytes of every tensor of the files: tells models apart without reading
// all.
std::string sample_of(const Model& model);

}  // namespace minke
