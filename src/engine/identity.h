#pragma once
// What the rows of the cache depend on beside the tokens.

#include <string>

#include "model/instance.h"

namespace minke {

// Differs where rows could: other weights (seen by their names, shapes, formats and some of their bytes),
// other adapters (by all of theirs), another cache format, other rounding. The same on every processor, and
// for any number of threads.
std::string cache_identity(const Model& model, const InstanceOptions& options);

}  // namespace minke
