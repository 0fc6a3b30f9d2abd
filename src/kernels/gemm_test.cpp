// Every format, grain and instruction set: right against a plain sum in double, and the same bits everywhere.

#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/isas.h"
#include "kernels/operand.h"
#include "kernels/test_data.h"
#include "quant/interleave.h"

namespace minke {
namespace {

// What the operand of one token holds, as numbers: read back from tiles of one token.
std::vector<double> held(const Kernels& kernels, Grain grain, const float* x, int cols) {
  Aligned memory(operand_bytes(grain, 1, cols));
  kernels.prepare(grain, x, cols, 1, cols, {0, 1}, memory.data());
  std::vector<double> values(static_cast<size_t>(cols));
  for (int c = 0; c < cols; ++c) {
    const int block = c / kBlock, k = c % kBlock;
    if (grain != Grain::int8) {  // of bf16 the reference holds f32
      values[static_cast<size_t>(c)] = reinterpret_cast<const FloatTile<1>*>(memory.data())[block].x[k][0];
      continue;
    }
    const auto& tile = reinterpret_cast<const QuantTile<1>*>(memory.data())[block];
    const auto value_of = [&](const QuantTile<1>& t) {
      const int step = t.token[0].step[k / 32], code = t.q[k / 4][0][k % 4];
      return double{t.token[0].scale} * step * code;
    };
    double& value = values[static_cast<size_t>(c)] = value_of(tile);
    if (tile.token[0].rest >> k / 32 & 1) value += value_of((&tile)[blocks_of(cols)]);
  }
  return values;
}

std::vector<float> multiply(const Kernels& kernels, Grain grain, const Mat& w, const std::vector<float>& x,
                            int tokens, int group = kPanel * kMaxPanels) {
  Aligned operand(operand_bytes(grain, tokens, w.cols)), scratch(gemm_scratch_bytes(tokens));
  for (int t = 0; t < tokens; t += 8)
    kernels.prepare(grain, x.data(), w.cols, tokens, w.cols, {t, std::min(8, tokens - t)}, operand.data());
  std::vector<float> out(static_cast<size_t>(tokens) * static_cast<size_t>(w.rows));
  for (int r = 0; r < w.rows; r += group) {
    kernels.multiply(w, r, std::min(group, w.rows - r), {operand.data(), grain, tokens, w.cols},
                     out.data() + r, w.rows, false, scratch.data());
  }
  return out;
}

class Gemm : public testing::TestWithParam<Format> {
 protected:
  Random random_{static_cast<uint64_t>(GetParam()) + 1};
  int random_cols() {
    const int block = info(GetParam()).block;
    return block * static_cast<int>(1 + random_.below(static_cast<uint64_t>(block == 256  ? 4
                                                                            : block == 32 ? 20
                                                                                          : 600)));
  }
};

TEST_P(Gemm, IsTheSumOfProducts) {
  const Kernels& kernels = kernels_for(Isa::scalar);
  for (const Grain grain : {grain_for(GetParam()), Grain::f32}) {
    for (int repeat = 0; repeat < 4; ++repeat) {
      const int rows = static_cast<int>(1 + random_.below(70)), cols = random_cols();
      const int tokens = static_cast<int>(1 + random_.below(20));
      const OwnedMat w = random_mat(random_, GetParam(), rows, cols);
      const auto x = random_floats(random_, int64_t{tokens} * cols);
      const auto out = multiply(kernels, grain, w.mat, x, tokens);
      std::vector<float> row(static_cast<size_t>(cols));
      for (int r = 0; r < rows; ++r) {
        dequantize_row(w.mat, r, row.data());
        for (int t = 0; t < tokens; ++t) {
          const auto values = held(kernels, grain, x.data() + int64_t{t} * cols, cols);
          double sum = 0, size = 0;
          for (size_t c = 0; c < row.size(); ++c) {
            sum += row[c] * values[c];
            size += std::abs(row[c] * values[c]);
          }
          // Minima are subtracted from sums of codes, which may be larger than the values.
          ASSERT_NEAR(out[static_cast<size_t>(t * rows + r)], sum, 4e-6 * size + 1e-5)
              << name(GetParam()) << ' ' << rows << 'x' << cols << " token " << t << " row " << r;
        }
      }
    }
  }
}

TEST_P(Gemm, EveryInstructionSetGivesTheSameBits) {
  for (const Grain grain : {grain_for(GetParam()), Grain::f32}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      const int rows = static_cast<int>(1 + random_.below(100)), cols = random_cols();
      const int tokens = repeat < 16 ? 1 + repeat : static_cast<int>(1 + random_.below(40));
      const OwnedMat w = random_mat(random_, GetParam(), rows, cols);
      auto x = random_floats(random_, int64_t{tokens} * cols);
      for (size_t i = random_.below(100); i < x.size(); i += 1 + random_.below(200)) x[i] *= 20;  // rests
      const auto expected = multiply(kernels_for(Isa::scalar), grain, w.mat, x, tokens);
      for (const Isa isa : usable_isas())
        ASSERT_EQ(multiply(kernels_for(isa), grain, w.mat, x, tokens), expected)
            << name(GetParam()) << ' ' << name(isa) << ' ' << rows << 'x' << cols << " tokens " << tokens;
    }
  }
}

TEST_P(Gemm, SumsBeyond16BitsGiveTheSameBits) {
  if (info(GetParam()).block != 256 || half_offsets(GetParam()).empty()) return;
  for (const int tokens : {1, 5, 29}) {
    const int rows = 40, cols = random_cols();
    OwnedMat w = random_mat(random_, GetParam(), rows, cols);
    saturate(w);
    auto x = random_floats(random_, int64_t{tokens} * cols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = i / 256 % 3 == 0 ? x[i] : 3 + std::abs(x[i]);
    const auto expected = multiply(kernels_for(Isa::scalar), Grain::int8, w.mat, x, tokens);
    for (const Isa isa : usable_isas())
      ASSERT_EQ(multiply(kernels_for(isa), Grain::int8, w.mat, x, tokens), expected)
          << name(GetParam()) << ' ' << name(isa) << " tokens " << tokens;
  }
}

// The instruction for pairs of bf16 takes subnormal numbers for zeros, so all have to: weights, activations,
// products and sums.
TEST(Floats, SubnormalsGiveTheSameBits) {
  Random random(23);
  const int rows = 40, cols = 300;
  for (const Format format : {Format::bf16, Format::f8_e4m3})
    for (const float size : {1.0f, 1e-20f, 1e-39f})
      for (const int tokens : {1, 2, 8, 21}) {
        OwnedMat w = random_mat(random, format, rows, cols);
        for (float& scale : w.scales) scale *= 1e-36f;
        for (int i = 0; format == Format::bf16 && i < rows * cols; ++i) {
          const float value = random.normal() * std::array{1e-39f, 1e-19f}[static_cast<size_t>(i / cols % 2)];
          const uint16_t bits = f32_to_bf16(value);
          std::memcpy(&w.bytes[static_cast<size_t>(2 * i)], &bits, 2);
        }
        const auto x = random_floats(random, int64_t{tokens} * cols, size);
        const auto expected = multiply(kernels_for(Isa::scalar), Grain::bf16, w.mat, x, tokens);
        for (const Isa isa : usable_isas())
          ASSERT_EQ(multiply(kernels_for(isa), Grain::bf16, w.mat, x, tokens), expected)
              << name(format) << ' ' << name(isa) << " tokens " << tokens;
      }
}

TEST_P(Gemm, ATokensResultDoesNotDependOnItsNeighbours) {
  const Kernels& kernels = kernels_for(usable_isas().back());
  for (const Grain grain : {grain_for(GetParam()), Grain::f32}) {
    const int rows = 83, cols = random_cols(), tokens = 37;
    const OwnedMat w = random_mat(random_, GetParam(), rows, cols);
    const auto x = random_floats(random_, int64_t{tokens} * cols);
    const auto together = multiply(kernels, grain, w.mat, x, tokens);
    EXPECT_EQ(multiply(kernels, grain, w.mat, x, tokens, 16), together);
    for (const int t : {0, 7, 8, 36}) {
      const std::vector<float> one(x.begin() + t * cols, x.begin() + (t + 1) * cols);
      const auto alone = multiply(kernels, grain, w.mat, one, 1);
      for (int r = 0; r < rows; ++r)
        ASSERT_EQ(alone[static_cast<size_t>(r)], together[static_cast<size_t>(t * rows + r)])
            << name(GetParam());
    }
  }
}

TEST_P(Gemm, AddsToWhatIsThere) {
  const Kernels& kernels = kernels_for(usable_isas().back());
  const Grain grain = grain_for(GetParam());
  const int rows = 20, cols = random_cols();
  const OwnedMat w = random_mat(random_, GetParam(), rows, cols);
  for (const int tokens : {1, 2, 3, 4, 5}) {
    const auto x = random_floats(random_, int64_t{tokens} * cols);
    const auto plain = multiply(kernels, grain, w.mat, x, tokens);
    Aligned operand(operand_bytes(grain, tokens, cols)), scratch(gemm_scratch_bytes(tokens));
    kernels.prepare(grain, x.data(), cols, tokens, cols, {0, tokens}, operand.data());
    std::vector<float> out(static_cast<size_t>(tokens * rows), 2.0f);
    kernels.multiply(w.mat, 0, rows, {operand.data(), grain, tokens, cols}, out.data(), rows, true,
                     scratch.data());
    for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], 2.0f + plain[i]) << tokens;
  }
}

TEST_P(Gemm, InterleavedRowsGiveTheSameBits) {
  if (!interleaves(GetParam())) return;
  for (const Grain grain : {grain_for(GetParam()), Grain::f32}) {
    for (int repeat = 0; repeat < 24; ++repeat) {
      const int rows = kPanel * static_cast<int>(1 + random_.below(7)), cols = random_cols();
      const int tokens = repeat < 18 ? 1 + repeat : static_cast<int>(1 + random_.below(60));
      OwnedMat w = random_mat(random_, GetParam(), rows, cols);
      auto x = random_floats(random_, int64_t{tokens} * cols);
      for (size_t i = random_.below(100); i < x.size(); i += 1 + random_.below(200)) x[i] *= 20;  // rests
      const auto expected = multiply(kernels_for(Isa::scalar), grain, w.mat, x, tokens);
      ASSERT_TRUE(can_interleave(w.mat));
      std::vector<std::byte> scratch(static_cast<size_t>(kPanel * w.mat.row_bytes));
      for (int r = 0; r < rows; r += kPanel)
        interleave_group(w.mat, w.bytes.data() + r * w.mat.row_bytes, scratch.data());
      w.mat.interleaved = true;
      for (const Isa isa : usable_isas())
        ASSERT_EQ(multiply(kernels_for(isa), grain, w.mat, x, tokens), expected)
            << name(GetParam()) << ' ' << name(isa) << ' ' << rows << 'x' << cols << " tokens " << tokens;
    }
  }
}

std::vector<Format> every_format() {
  std::vector<Format> formats;
  for (const FormatInfo& f : all_formats()) formats.push_back(f.format);
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Formats, Gemm, testing::ValuesIn(every_format()),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(Prepare, RoundsToHalfAStep) {
  Random random(5);
  const Kernels& kernels = kernels_for(Isa::scalar);
  const int cols = 1024;
  auto x = random_floats(random, cols);
  for (int i = 0; i < cols; i += 97) x[static_cast<size_t>(i)] *= 30;  // outliers
  const auto values = held(kernels, Grain::int8, x.data(), cols);
  for (int i = 0; i < cols; i += 32) {
    float peak = 0, top = 0;
    for (int j = 0; j < 32; ++j) peak = std::max(peak, std::abs(x[static_cast<size_t>(i + j)]));
    for (int j = i / 256 * 256; j < i / 256 * 256 + 256; ++j)
      top = std::max(top, std::abs(x[static_cast<size_t>(j)]));
    const float step = std::ceil(8 * peak / top * 0.999999f) / 8 * top / 127;
    for (int j = i; j < i + 32; ++j)
      ASSERT_LE(std::abs(values[static_cast<size_t>(j)] - x[static_cast<size_t>(j)]), 0.5001f * step) << j;
  }
}

TEST(Prepare, RowsComeInAnyPieces) {
  Random random(6);
  for (const Isa isa : usable_isas())
    for (int repeat = 0; repeat < 60; ++repeat) {
      const Kernels& kernels = kernels_for(isa);
      const int tokens = static_cast<int>(1 + random.below(30)),
                cols = 32 * static_cast<int>(1 + random.below(20));
      const Grain grain = std::array{Grain::f32, Grain::bf16, Grain::int8}[static_cast<size_t>(repeat % 3)];
      auto x = random_floats(random, int64_t{tokens} * cols);
      for (size_t i = random.below(100); i < x.size(); i += 1 + random.below(200)) x[i] *= 20;  // rests
      const int64_t bytes = operand_bytes(grain, tokens, cols);
      Aligned whole(bytes), pieces(bytes);
      kernels.prepare(grain, x.data(), cols, tokens, cols, {0, tokens}, whole.data());
      for (int first = 0; first < tokens;) {
        const int count = std::min(tokens - first, static_cast<int>(1 + random.below(12)));
        const int block = static_cast<int>(random.below(6));
        kernels.prepare(grain, x.data(), cols, tokens, cols, {first, count, block}, pieces.data());
        kernels.prepare(grain, x.data(), cols, tokens, cols, {first, count, 0, block}, pieces.data());
        first += count;
      }
      ASSERT_EQ(std::memcmp(whole.data(), pieces.data(), static_cast<size_t>(bytes)), 0)
          << tokens << 'x' << cols;
    }
}

TEST(Prepare, ZerosStayZero) {
  const Kernels& kernels = kernels_for(usable_isas().back());
  const std::vector<float> x(512, 0.0f);
  for (const Grain grain : {Grain::f32, Grain::bf16, Grain::int8})
    for (const double v : held(kernels, grain, x.data(), 512)) EXPECT_EQ(v, 0.0);
}

// Rows that were prepared one by one and gathered are those prepared together, to the bit.
TEST(Prepare, RowsGatheredAreRowsPreparedTogether) {
  Random random(11);
  for (const Isa isa : usable_isas())
    for (const Grain grain : {Grain::f32, Grain::bf16, Grain::int8}) {
      const Kernels& kernels = kernels_for(isa);
      const int rows = 5, cols = 1 + static_cast<int>(random.below(1000));
      for (const int tokens : {1, 3, 8, 23}) {
        std::vector<float> x = random_floats(random, rows * cols), gathered;
        x[static_cast<size_t>(cols) / 2] = 50.0f;  // row 0 has a rest
        std::vector<int32_t> ids;
        for (int t = 0; t < tokens; ++t) {
          ids.push_back(static_cast<int32_t>(random.below(rows)));
          gathered.insert(gathered.end(), x.begin() + ids.back() * cols, x.begin() + (ids.back() + 1) * cols);
        }
        const int64_t one = operand_bytes(grain, 1, cols), all = operand_bytes(grain, tokens, cols);
        // What no mask names is not written: it stays what both have.
        Aligned singles(one * rows), wanted(all), is(all);
        std::memset(wanted.data(), 0, static_cast<size_t>(all));
        std::memset(is.data(), 0, static_cast<size_t>(all));
        for (int r = 0; r < rows; ++r)
          kernels.prepare(grain, x.data() + r * cols, cols, 1, cols, {0, 1}, singles.data() + r * one);
        kernels.prepare(grain, gathered.data(), cols, tokens, cols, {0, tokens}, wanted.data());
        kernels.gather(grain, {singles.data(), one, ids.data(), nullptr, tokens, cols}, is.data());
        EXPECT_EQ(std::memcmp(is.data(), wanted.data(), static_cast<size_t>(all)), 0)
            << name(isa) << " " << tokens << " rows of " << cols;
      }
    }
}

}  // namespace
}  // namespace minke
