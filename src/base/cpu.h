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

// Physical cores this process may be scheduled on, no more than its container's quota; at least 1.
int usable_cores();

}  // namespace minke
