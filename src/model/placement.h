#pragma once
// Where a loaded model's weights lie: on which pages, near which processors, locked or not
// (docs/decisions/numa.md, docs/running.md).

#include <functional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/residence.h"
#include "model/load.h"

namespace minke {

struct PlacementOptions {
  HugePages huge_pages = HugePages::automatic;
  Numa numa = Numa::off;
  bool lock = false;
  bool repack = false;  // interleave what is faster so with `isa`
  Isa isa = Isa::scalar;
  int threads = 1;  // that will work with the model
  // Bytes read of all there are, from any thread, one at a time.
  std::function<void(int64_t done, int64_t all)> progress = {};
};

// Does to the weights what is asked for, and says in sentences what could not be had. Throws Error where the
// machine's memory is too small for copies, a file cannot be read, or may not be locked. Without `machine`
// hwloc is asked for this one.
std::vector<std::string> place_weights(Model& model, const PlacementOptions& options,
                                       std::optional<Topology> machine = {});

// What the kernel says of the weights now.
Residence residence_of(const Model& model);

// The same for people: "1.12 GB, 1.09 GB on huge pages of the page cache".
std::string residence_text(const Model& model);

}  // namespace minke
