#pragma once
// Encoders that search: how a row is rounded to a weight format so that least is lost. The quantisers of the
// registry round as the format's reference does; these find scales, minima and codes by least squares.

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace minke {

// Whether encode() knows the format: all but F8_E4M3, whose scales lie outside of the row, and IQ1, IQ2, IQ3.
bool can_encode(Format format);

// Rounds a row of n weights, n a multiple of the format's block, to blocks of any alignment, so that the sum
// of importance[i] (values[i] - dequantised[i])^2 is small. importance: n numbers >= 0, one per column; null:
// all alike. The error is never above that of the reference quantiser, where there is one. What is not finite
// counts as 0, and what lies beyond the format's range becomes its end: the result is finite.
void encode(Format format, const float* values, const float* importance, std::byte* blocks, int64_t n);

// One for each format; others reach them through encode().
using Encode = void(const float* values, const float* importance, std::byte* blocks, int64_t n);
Encode encode_q4_0, encode_q4_1, encode_q5_0, encode_q5_1, encode_q8_0, encode_iq4_nl, encode_mxfp4;
Encode encode_q3_k, encode_q6_k, encode_iq4_xs;
Encode encode_q2_k, encode_q4_k, encode_q5_k;

}  // namespace minke
