#include "base/cpu.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>
#include <set>
#include <string>
#include <utility>

#include <climits>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace minke {
namespace {

constexpr std::pair<Isa, const char*> kNames[] = {{Isa::scalar, "scalar"},
                                                  {Isa::neon, "neon"},
                                                  {Isa::avx2, "avx2"},
                                                  {Isa::avx512, "avx512"},
                                                  {Isa::avx512_vnni, "avx512-vnni"},
                                                  {Isa::avx512_bf16, "avx512-bf16"}};

// The lowest hardware thread of the core that `cpu` belongs to.
int first_sibling(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  int first = cpu;
  return file >> first ? first : cpu;
}

// The processors that a container's quota amounts to ("max 100000" or "150000 100000" in cpu.max), rounded
// up.
int cgroup_limit() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return INT_MAX;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

}  // namespace

const char* name(Isa isa) {
  for (const auto& [known, text] : kNames)
    if (known == isa) return text;
  return "?";
}

std::optional<Isa> isa_by_name(std::string_view name) {
  for (const auto& [isa, text] : kNames)
    if (name == text) return isa;
  return std::nullopt;
}

bool supported(Isa isa) {
  switch (isa) {
    case Isa::scalar: return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Isa::avx512:
      return supported(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::avx512_vnni: return supported(Isa::avx512) && __builtin_cpu_supports("avx512vnni");
    case Isa::avx512_bf16:  // whose kernels look FP8 up in tables of bytes
      return supported(Isa::avx512_vnni) && __builtin_cpu_supports("avx512vbmi") &&
             __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
    case Isa::neon: return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;  // its kernels use the dot product
#endif
    default: return false;
  }
}

const bool kFollowsRows = supported(Isa::avx512) && !supported(Isa::avx512_bf16);

std::vector<Isa> supported_isas() {
  std::vector<Isa> found;
  for (const auto& [isa, text] : kNames)
    if (supported(isa)) found.push_back(isa);
  return found;
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::set<int> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cores.insert(first_sibling(cpu));
  const int scheduled = cores.empty() ? 1 : static_cast<int>(cores.size());
  return std::min(scheduled, cgroup_limit());
}

}  // namespace minke
