#include "quant/mat.h"

#include <bit>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/float.h"
#include "base/random.h"

namespace minke {
namespace {

TEST(Mat, RowsOfQuantisedWeights) {
  constexpr int kRows = 5, kCols = 512;
  const FormatInfo& q4_k = info(Format::q4_k);
  Random random(3);
  std::vector<std::byte> bytes(static_cast<size_t>(kRows * row_bytes(Format::q4_k, kCols)));
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
  const Mat m{bytes.data(), nullptr, Format::q4_k, kRows, kCols, row_bytes(Format::q4_k, kCols)};
  EXPECT_EQ(m.bytes(), static_cast<int64_t>(bytes.size()));

  std::vector<float> all(kRows * kCols), row(kCols);
  q4_k.dequantize(bytes.data(), all.data(), kRows * kCols);
  const Mat part = rows_of(m, 2, 3);
  EXPECT_EQ(part.rows, 3);
  for (int r = 0; r < 3; ++r) {
    dequantize_row(part, r, row.data());
    EXPECT_EQ(std::memcmp(row.data(), all.data() + (2 + r) * kCols, kCols * sizeof(float)), 0);
  }
  EXPECT_EQ(rows_of(m, kRows, 0).rows, 0);
}

// 300 x 200 values under 3 x 2 scales: the last blocks are partial both ways.
TEST(Mat, Fp8ScalesReachPartialBlocks) {
  constexpr int kRows = 300, kCols = 200;
  std::vector<std::byte> bytes(kRows * kCols);
  Random random(4);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(0x7f) | random.below(2) << 7);
  const std::vector<float> scales = {1, 2, 3, 5, 7, 11};
  ASSERT_EQ(static_cast<size_t>(scale_blocks(kRows) * scale_blocks(kCols)), scales.size());
  const Mat m{bytes.data(), scales.data(), Format::f8_e4m3, kRows, kCols, kCols};

  const auto expect_rows = [&](const Mat& part, int first) {
    std::vector<float> row(kCols);
    for (int r = 0; r < part.rows; ++r) {
      dequantize_row(part, r, row.data());
      for (int c = 0; c < kCols; ++c) {
        const float value =
            e4m3_to_f32(static_cast<uint8_t>(bytes[static_cast<size_t>((first + r) * kCols + c)]));
        ASSERT_EQ(row[static_cast<size_t>(c)],
                  value * scales[static_cast<size_t>((first + r) / 128 * 2 + c / 128)]);
      }
    }
  };
  expect_rows(m, 0);
  expect_rows(rows_of(m, 128, 150), 128);
  expect_rows(rows_of(m, 256, 44), 256);
}

TEST(MatDeathTest, SlicesMustLieInsideAndOnScaleBlocks) {
  const float scale = 1;
  std::vector<std::byte> bytes(256 * 4);
  const Mat plain{bytes.data(), nullptr, Format::f32, 4, 64, 256};
  EXPECT_DEATH(rows_of(plain, 3, 2), "rows 3 \\+ 2 of 4");
  const Mat scaled{bytes.data(), &scale, Format::f8_e4m3, 100, 10, 10};
  EXPECT_DEATH(rows_of(scaled, 64, 10), "starts at row 64");
}

}  // namespace
}  // namespace minke
