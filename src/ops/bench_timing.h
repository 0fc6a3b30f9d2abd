#pragma once
// What the measurements by hand share: a clock, medians, the limit of a multiply unit, flags of the machine.

#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "ops/context.h"

namespace minke {

// Of one thread its processor time does better, which others on the machine disturb less.
inline clockid_t timer = CLOCK_MONOTONIC;

inline double now() {
  timespec t;
  clock_gettime(timer, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

inline double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

// Multiply-adds a second of one of the kernels' probes, on all threads.
inline double spin(const Context& ctx, int64_t (*work)(int64_t)) {
  constexpr int64_t kRounds = 400000;  // about a millisecond
  const double start = now();
  ctx.pool.run([&](int) { work(kRounds); });
  const double time = now() - start;
  return static_cast<double>(kRounds * work(1) * ctx.pool.size()) / time;
}

struct MachineFlags {
  int threads = usable_cores();
  Isa isa = supported_isas().back();

  // Whether argv[i] is one of them; i then stands at its value.
  bool take(int argc, char** argv, int& i) {
    const std::string_view arg = argv[i];
    if ((arg != "--threads" && arg != "--isa") || i + 1 >= argc) return false;
    const std::string value = argv[++i];
    if (arg == "--threads")
      threads = std::stoi(value);
    else
      isa = isa_by_name(value).value_or(isa);
    return true;
  }
};

}  // namespace minke
