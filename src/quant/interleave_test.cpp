#include "quant/interleave.h"

#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace minke {
namespace {

struct Interleaved {
  std::vector<std::byte> plain, bytes;
  Mat mat;
};

Interleaved random_interleaved(Format format, int rows, int cols) {
  Random random(static_cast<uint64_t>(format) + 7);
  const int64_t stride = row_bytes(format, cols), group = kInterleavedRows * stride;
  Interleaved made;
  made.plain.resize(static_cast<size_t>(rows * stride));
  for (std::byte& b : made.plain) b = static_cast<std::byte>(random.below(256));
  made.bytes = made.plain;
  made.mat = {made.bytes.data(), nullptr, format, rows, cols, stride};
  std::vector<std::byte> scratch(static_cast<size_t>(group));
  for (int g = 0; g < rows / kInterleavedRows; ++g)
    interleave_group(made.mat, made.bytes.data() + g * group, scratch.data());
  made.mat.interleaved = true;
  return made;
}

TEST(Interleave, EveryBlockComesBack) {
  int formats = 0;
  for (const FormatInfo& f : all_formats()) {
    if (!interleaves(f.format)) continue;
    ++formats;
    const int blocks = 3, rows = 48;
    const Interleaved made = random_interleaved(f.format, rows, blocks * f.block);
    EXPECT_NE(made.bytes, made.plain) << f.name;
    std::vector<std::byte> block(static_cast<size_t>(f.block_bytes));
    for (int r = 0; r < rows; ++r)
      for (int b = 0; b < blocks; ++b) {
        gather_block(made.mat, r, b, block.data());
        const auto at = made.plain.begin() + r * made.mat.row_bytes + b * f.block_bytes;
        ASSERT_TRUE(std::equal(block.begin(), block.end(), at)) << f.name << ' ' << r << ' ' << b;
      }
  }
  EXPECT_EQ(formats, 9);
}

TEST(Interleave, RowsAndSlicesGiveTheSameNumbers) {
  constexpr int kRows = 64, kCols = 512;
  const Interleaved made = random_interleaved(Format::q8_0, kRows, kCols);
  Mat plain = made.mat;
  plain.data = made.plain.data();
  plain.interleaved = false;
  const Mat part = rows_of(made.mat, 16, 32);
  std::vector<float> expected(kCols), row(kCols);
  for (int r = 0; r < part.rows; ++r) {
    dequantize_row(plain, 16 + r, expected.data());
    dequantize_row(part, r, row.data());
    for (int c = 0; c < kCols; ++c)  // NaN among them
      ASSERT_TRUE(row[c] == expected[c] || (row[c] != row[c] && expected[c] != expected[c])) << r << ' ' << c;
  }
}

TEST(Interleave, OnlyWholeGroupsOfKnownFormats) {
  const auto can = [](Format format, int rows) {
    return can_interleave({nullptr, nullptr, format, rows, 256, row_bytes(format, 256)});
  };
  EXPECT_TRUE(can(Format::q4_k, 32));
  EXPECT_FALSE(can(Format::q4_k, 40));
  EXPECT_FALSE(can(Format::bf16, 32));
  EXPECT_FALSE(can(Format::iq2_xs, 32));
}

}  // namespace
}  // namespace minke
