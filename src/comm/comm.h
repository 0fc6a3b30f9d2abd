#pragma once
// The ranks that share the work. What they do together: comm/collectives.h.

#include <memory>

namespace minke {

class Ranks;

// A group of ranks, as one of them sees it. Comm{} is a process that works alone.
struct Comm {
  int rank = 0, size = 1;
  std::shared_ptr<Ranks> ranks = nullptr;  // what joins them; null: there is nobody else
};

}  // namespace minke
