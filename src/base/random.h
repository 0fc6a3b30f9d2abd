#pragma once
// Random numbers by counter (Philox 4x32-10, Salmon et al. 2011): the value for (seed, stream, index) needs
// no state, so a draw does not depend on who drew before it.

#include <array>
#include <cstdint>

namespace minke {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index);

// A sequence of draws over one (seed, stream).
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  uint32_t bits();
  double uniform();            // [0, 1), 53 bits
  uint64_t below(uint64_t n);  // [0, n), n >= 1, unbiased
  float normal();              // mean 0, variance 1

 private:
  uint64_t seed_, stream_, index_ = 0;
  std::array<uint32_t, 4> block_{};
  int left_ = 0;
};

}  // namespace minke
