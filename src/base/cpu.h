#pragma once
// What this machine's processor can do.

#include <optional>
#include <string_view>
#include <vector>

namespace minke {

// The instruction sets kernels are built for, from the reference to the widest.
enum class Isa { scalar, neon, avx2, avx512, avx512_vnni, avx512_bf16 };

const char* name(Isa isa);
std::optional<Isa> isa_by_name(std::string_view name);
bool supported(Isa isa);            // by this processor and operating system
std::vector<Isa> supported_isas();  // ascending; never empty

// Whether its own prefetchers follow sixteen rows of a matrix that are read side by side: of processors with
// AVX-512, those without BF16 (seen on Cascade Lake; Zen 4's do not).
extern const bool kFollowsRows;

// Physical cores this process may be scheduled on, no more than its container's quota; at least 1.
int usable_cores();

}  // namespace minke
