#pragma once
// Weight formats: how a row of numbers lies in bytes (MODEL.md 3.1 and 4.1; docs/formats.md).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace minke {

enum class Format : uint8_t {
  f32,
  f16,
  bf16,
  f8_e4m3,  // plain bytes; a Mat of it carries one f32 scale per 128 x 128 block
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  iq3_s,
  iq3_xxs,
  iq2_s,
  iq2_xs,
  iq2_xxs,
  iq1_m,
  iq1_s,
  mxfp4,
};

// One row of the registry: everything the rest of the program knows about a format.
struct FormatInfo {
  Format format;
  const char* name;  // as users and GGUF write it: "Q4_K"
  int gguf_type;     // type id in a GGUF file; -1 where GGUF has none
  int block;         // weights per block; a row holds whole blocks
  int block_bytes;   // bytes per block

  // Reference conversions of n weights, n a multiple of `block`, blocks of any alignment; bit for bit those
  // of MODEL.md 4.1. Any bytes dequantise to something; values that are not finite make an arbitrary block.
  void (*dequantize)(const std::byte* blocks, float* values, int64_t n);
  void (*quantize)(const float* values, std::byte* blocks, int64_t n);  // null where not offered
};

const FormatInfo& info(Format format);
std::span<const FormatInfo> all_formats();
std::optional<Format> format_by_name(std::string_view name);  // any case
std::optional<Format> format_by_gguf_type(uint32_t type);

inline const char* name(Format format) { return info(format).name; }

// Bytes of a row of `cols` weights; cols must be a multiple of the block.
int64_t row_bytes(Format format, int64_t cols);

}  // namespace minke
