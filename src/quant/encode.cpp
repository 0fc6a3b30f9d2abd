#include "quant/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "quant/blocks.h"
#include "quant/reference.h"

namespace minke {
namespace {

// Formats without blocks: each value has one nearest. Not beyond the largest finite one.
void round_each(Format format, const float* values, std::byte* codes, int64_t n) {
  const float most = format == Format::f16    ? 65504.0f
                     : format == Format::bf16 ? 0x1.fep127f
                                              : 0x1.fffffep127f;
  std::vector<float> finite(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    finite[static_cast<size_t>(i)] =
        std::abs(values[i]) <= 0x1.fffffep127f ? std::clamp(values[i], -most, most) : 0;
  info(format).quantize(finite.data(), codes, n);
}

// Code of MXFP4 next to y of its doubled levels: all boundaries between magnitudes are multiples of 1/2.
uint8_t mxfp4_code(float y) {
  static constexpr float kBetween[] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
  uint8_t code = 0;
  for (const float edge : kBetween) code = static_cast<uint8_t>(code + (std::abs(y) > edge));
  return static_cast<uint8_t>(y < 0 && code > 0 ? code | 8 : code);
}

// 2^(e - 128), as a block of MXFP4 with this e means it; ldexp is exact for both subnormal ones.
double mxfp4_scale(int e) { return std::ldexp(1.0, e - 128); }

double mxfp4_error(const float* x, const float* w, int e) {
  const double d = mxfp4_scale(e), id = 1 / d;
  double error = 0;
  for (int i = 0; i < kSmallBlock; ++i) {
    const double off = double{x[i]} - d * kMxfp4Values[mxfp4_code(static_cast<float>(x[i] * id))];
    error += w ? double{w[i]} * off * off : off * off;
  }
  return error;
}

}  // namespace

// The reference's scale and its neighbours, of which the lower one cuts more and the higher one less.
void encode_mxfp4(const float* values, const float* importance, std::byte* blocks, int64_t n) {
  constexpr int kMost = 252;  // above, the last levels are no f32
  each_block<BlockMxfp4, kSmallBlock>(values, blocks, n, [&](const float* from, BlockMxfp4& block) {
    const float* w = importance ? importance + (from - values) : nullptr;
    float x[kSmallBlock], largest = 0;
    for (int i = 0; i < kSmallBlock; ++i) {
      x[i] = std::abs(from[i]) <= 0x1.fffffep127f ? from[i] : 0;
      largest = std::max(largest, std::abs(x[i]));
    }
    const int middle = largest > 0 ? std::clamp(std::ilogb(largest) - 2 + 127, 0, kMost) : 0;
    int best = middle;
    double least = mxfp4_error(x, w, middle);
    for (const int e : {middle + 1, middle - 1, middle - 2}) {
      if (e < 0 || e > kMost) continue;
      if (const double error = mxfp4_error(x, w, e); error < least) best = e, least = error;
    }
    block.e = static_cast<uint8_t>(best);
    const double id = 1 / mxfp4_scale(best);
    uint8_t q[kSmallBlock];
    for (int i = 0; i < kSmallBlock; ++i) q[i] = mxfp4_code(static_cast<float>(x[i] * id));
    for (int l = 0; l < 16; ++l) block.qs[l] = static_cast<uint8_t>(q[l] | q[l + 16] << 4);
  });
}

namespace {

// Null for formats whose values are rounded one by one, and for those that are read only.
Encode* encoder(Format format) {
  switch (format) {
    case Format::q4_0: return encode_q4_0;
    case Format::q4_1: return encode_q4_1;
    case Format::q5_0: return encode_q5_0;
    case Format::q5_1: return encode_q5_1;
    case Format::q8_0: return encode_q8_0;
    case Format::q2_k: return encode_q2_k;
    case Format::q3_k: return encode_q3_k;
    case Format::q4_k: return encode_q4_k;
    case Format::q5_k: return encode_q5_k;
    case Format::q6_k: return encode_q6_k;
    case Format::iq4_nl: return encode_iq4_nl;
    case Format::iq4_xs: return encode_iq4_xs;
    case Format::mxfp4: return encode_mxfp4;
    default: return nullptr;
  }
}

bool is_plain(Format format) {
  return format == Format::f32 || format == Format::f16 || format == Format::bf16;
}

}  // namespace

bool can_encode(Format format) { return is_plain(format) || encoder(format); }

void encode(Format format, const float* values, const float* importance, std::byte* blocks, int64_t n) {
  MINKE_CHECK(n % info(format).block == 0, "{} weights of {}", n, name(format));
  if (is_plain(format)) return round_each(format, values, blocks, n);
  Encode* const encode_row = encoder(format);
  MINKE_CHECK(encode_row, "{} is not encoded", name(format));
  encode_row(values, importance, blocks, n);
}

}  // namespace minke
