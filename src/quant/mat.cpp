#include "quant/mat.h"

#include <array>

#include "base/error.h"
#include "quant/interleave.h"

namespace minke {

Mat rows_of(const Mat& m, int first, int count) {
  MINKE_CHECK(first >= 0 && count >= 0 && first <= m.rows - count, "rows {} + {} of {}", first, count,
              m.rows);
  MINKE_CHECK(!m.interleaved || (first % kInterleavedRows == 0 && count % kInterleavedRows == 0),
              "rows {} + {} of interleaved ones", first, count);
  Mat part = m;
  part.data = m.row(first);
  part.rows = count;
  if (m.scales) {
    MINKE_CHECK(first % kScaleBlock == 0, "a slice of scaled rows starts at row {}", first);
    part.scales = m.scales + int64_t{first / kScaleBlock} * scale_blocks(m.cols);
  }
  return part;
}

void dequantize_row(const Mat& m, int64_t r, float* out) {
  MINKE_CHECK(r >= 0 && r < m.rows, "row {} of {}", r, m.rows);
  MINKE_CHECK(m.format != Format::f8_e4m3 || m.scales);
  const FormatInfo& format = info(m.format);
  if (m.interleaved) {
    std::array<std::byte, 256> block;
    for (int c = 0; c < m.cols; c += format.block) {
      gather_block(m, r, c / format.block, block.data());
      format.dequantize(block.data(), out + c, format.block);
    }
    return;
  }
  format.dequantize(m.row(r), out, m.cols);
  if (m.format != Format::f8_e4m3) return;
  const float* scales = m.scales + r / kScaleBlock * scale_blocks(m.cols);
  for (int c = 0; c < m.cols; ++c) out[c] *= scales[c / kScaleBlock];
}

}  // namespace minke
