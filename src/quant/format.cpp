#include "quant/format.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {
namespace {

// One row per format, in the order of the enumeration.
constexpr FormatInfo kFormats[] = {
    {Format::f32, "F32", 0, 1, 4, dequantize_f32, quantize_f32},
    {Format::f16, "F16", 1, 1, 2, dequantize_f16, quantize_f16},
    {Format::bf16, "BF16", 30, 1, 2, dequantize_bf16, quantize_bf16},
    {Format::f8_e4m3, "F8_E4M3", -1, 1, 1, dequantize_f8_e4m3, quantize_f8_e4m3},
    {Format::q4_0, "Q4_0", 2, kSmallBlock, sizeof(BlockQ4_0), dequantize_q4_0, quantize_q4_0},
    {Format::q4_1, "Q4_1", 3, kSmallBlock, sizeof(BlockQ4_1), dequantize_q4_1, quantize_q4_1},
    {Format::q5_0, "Q5_0", 6, kSmallBlock, sizeof(BlockQ5_0), dequantize_q5_0, quantize_q5_0},
    {Format::q5_1, "Q5_1", 7, kSmallBlock, sizeof(BlockQ5_1), dequantize_q5_1, quantize_q5_1},
    {Format::q8_0, "Q8_0", 8, kSmallBlock, sizeof(BlockQ8_0), dequantize_q8_0, quantize_q8_0},
    {Format::q2_k, "Q2_K", 10, kSuperBlock, sizeof(BlockQ2_K), dequantize_q2_k, nullptr},
    {Format::q3_k, "Q3_K", 11, kSuperBlock, sizeof(BlockQ3_K), dequantize_q3_k, nullptr},
    {Format::q4_k, "Q4_K", 12, kSuperBlock, sizeof(BlockQ4_K), dequantize_q4_k, nullptr},
    {Format::q5_k, "Q5_K", 13, kSuperBlock, sizeof(BlockQ5_K), dequantize_q5_k, nullptr},
    {Format::q6_k, "Q6_K", 14, kSuperBlock, sizeof(BlockQ6_K), dequantize_q6_k, nullptr},
    {Format::iq4_nl, "IQ4_NL", 20, kSmallBlock, sizeof(BlockIq4Nl), dequantize_iq4_nl, nullptr},
    {Format::iq4_xs, "IQ4_XS", 23, kSuperBlock, sizeof(BlockIq4Xs), dequantize_iq4_xs, nullptr},
    {Format::iq3_s, "IQ3_S", 21, kSuperBlock, sizeof(BlockIq3S), dequantize_iq3_s, nullptr},
    {Format::iq3_xxs, "IQ3_XXS", 18, kSuperBlock, sizeof(BlockIq3Xxs), dequantize_iq3_xxs, nullptr},
    {Format::iq2_s, "IQ2_S", 22, kSuperBlock, sizeof(BlockIq2S), dequantize_iq2_s, nullptr},
    {Format::iq2_xs, "IQ2_XS", 17, kSuperBlock, sizeof(BlockIq2Xs), dequantize_iq2_xs, nullptr},
    {Format::iq2_xxs, "IQ2_XXS", 16, kSuperBlock, sizeof(BlockIq2Xxs), dequantize_iq2_xxs, nullptr},
    {Format::iq1_m, "IQ1_M", 29, kSuperBlock, sizeof(BlockIq1M), dequantize_iq1_m, nullptr},
    {Format::iq1_s, "IQ1_S", 19, kSuperBlock, sizeof(BlockIq1S), dequantize_iq1_s, nullptr},
    {Format::mxfp4, "MXFP4", 39, kSmallBlock, sizeof(BlockMxfp4), dequantize_mxfp4, quantize_mxfp4},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kFormats); ++i)
    if (static_cast<size_t>(kFormats[i].format) != i) return false;
  return true;
}
static_assert(in_order() && kFormats[std::size(kFormats) - 1].format == Format::mxfp4);

}  // namespace

const FormatInfo& info(Format format) { return kFormats[static_cast<size_t>(format)]; }

std::span<const FormatInfo> all_formats() { return kFormats; }

std::optional<Format> format_by_name(std::string_view name) {
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; };
  for (const FormatInfo& row : kFormats)
    if (std::ranges::equal(name, std::string_view(row.name), {}, upper)) return row.format;
  return std::nullopt;
}

std::optional<Format> format_by_gguf_type(uint32_t type) {
  for (const FormatInfo& row : kFormats)
    if (row.gguf_type >= 0 && static_cast<uint32_t>(row.gguf_type) == type) return row.format;
  return std::nullopt;
}

int64_t row_bytes(Format format, int64_t cols) {
  const FormatInfo& row = info(format);
  MINKE_CHECK(cols >= 0 && cols % row.block == 0, "{} columns of {}, whose blocks hold {}", cols, row.name,
              row.block);
  return cols / row.block * row.block_bytes;
}

}  // namespace minke
