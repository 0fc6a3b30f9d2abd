#pragma once
// How the numbers of a cache row lie in memory: what the kernels that read the cache and the room that keeps
// it agree on.

#include <cstdint>

namespace minke {

enum class KvFormat : uint8_t { f32, bf16 };

constexpr int kv_bytes(KvFormat format) { return format == KvFormat::f32 ? 4 : 2; }
constexpr const char* name(KvFormat format) { return format == KvFormat::f32 ? "f32" : "bf16"; }

constexpr int kPageTokens = 64;  // tokens of a cache page, in every layer

}  // namespace minke
