#include "quant/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"

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
