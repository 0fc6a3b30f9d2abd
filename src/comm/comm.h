#pragma once
// Ranks that share the work. So far a program is one rank; several are joined by MPI in a later version of
// this header.

namespace minke {

struct Comm {
  int rank = 0, size = 1;
};

}  // namespace minke
