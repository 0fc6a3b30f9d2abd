#pragma once
// How the numbers of a cache row lie in memory: what the kernels that read the cache and the room that keeps
// it agree on.
//
// A row has some parts (keys, values, latents), a part one or more heads of one width. A head is its scales,
// bf16, filled up to whole words of four bytes, then its numbers:
//
//   f32, bf16  as they are, without scales
//   int8       code * scale, codes -127 .. 127; a scale for each kKvGroup numbers or what is left of them
//   fp8        e4m3 (MODEL.md 3.1) times the head's scale, normal codes alone
//
// What is smaller than 2^-6 of fp8's scale, zero too, is 2^-6 scales with its sign.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace minke {

enum class KvFormat : uint8_t { f32, bf16, int8, fp8 };
constexpr std::array kKvFormats = {KvFormat::f32, KvFormat::bf16, KvFormat::int8, KvFormat::fp8};

constexpr int kPageTokens = 64;  // tokens of a cache page, in every layer
constexpr int kKvGroup = 128;    // numbers of int8 under one scale

constexpr const char* name(KvFormat format) {
  switch (format) {
    case KvFormat::f32: return "f32";
    case KvFormat::bf16: return "bf16";
    case KvFormat::int8: return "int8";
    case KvFormat::fp8: break;
  }
  return "fp8";
}
constexpr std::optional<KvFormat> kv_format(std::string_view text) {
  for (const KvFormat f : kKvFormats)
    if (text == name(f)) return f;
  return {};
}

// Bytes of a number, without its share of a scale.
constexpr int kv_bytes(KvFormat format) {
  return format == KvFormat::f32 ? 4 : format == KvFormat::bf16 ? 2 : 1;
}
// Scales of a head of `width` numbers, their bytes, and those of all.
constexpr int kv_scales(KvFormat format, int width) {
  return format == KvFormat::int8               ? (width + kKvGroup - 1) / kKvGroup
         : format == KvFormat::fp8 && width > 0 ? 1
                                                : 0;
}
constexpr int kv_scale_bytes(KvFormat format, int width) {
  return (2 * kv_scales(format, width) + 3) / 4 * 4;
}
constexpr int64_t kv_head_bytes(KvFormat format, int width) {
  return kv_scale_bytes(format, width) + int64_t{width} * kv_bytes(format);
}

// Number i of a head of `width` numbers: what the kernels' ways of reading it are compared with.
float kv_number(KvFormat format, const std::byte* head, int width, int i);

}  // namespace minke
