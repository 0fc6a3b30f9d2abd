// Products of every shape and transposition: right against sums in double, and the same bits whatever the
// threads, instruction sets and strides.

#include "ops/matmul.h"

#include <cmath>

#include <gtest/gtest.h>

#include "ops/test_ops.h"

namespace minke {
namespace {

// A matrix in memory of its own, padded between rows.
struct Operands {
  std::vector<float> memory;
  MatrixView view;

  Operands(Random& random, int rows, int cols, bool transposed, int pad) {
    const int lines = transposed ? cols : rows, length = (transposed ? rows : cols) + pad;
    memory = random_floats(random, int64_t{lines} * length);
    view = {memory.data(), rows, cols, length, transposed};
  }
  double at(Precision precision, int i, int j) const {
    const float x = view.data[view.transposed ? j * view.stride + i : i * view.stride + j];
    return precision == Precision::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
  }
};

constexpr int kPad = 3;  // numbers between rows of a result, which must stay as they are

std::vector<float> product(const Context& ctx, Precision precision, const Operands& a, const Operands& b,
                           bool add) {
  const int stride = b.view.cols + kPad;
  std::vector<float> out(static_cast<size_t>(a.view.rows) * static_cast<size_t>(stride), 3.0f);
  matmul(ctx, precision, a.view, b.view, out.data(), stride, add);
  return out;
}

void expect_sums(Precision precision, const Operands& a, const Operands& b, bool add,
                 const std::vector<float>& out) {
  const int rows = a.view.rows, cols = b.view.cols, depth = a.view.cols;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols + kPad; ++j) {
      const float is = out[static_cast<size_t>(i * (cols + kPad) + j)];
      if (j >= cols) {
        ASSERT_EQ(is, 3.0f) << "beyond row " << i;
        continue;
      }
      double sum = add ? 3 : 0, size = std::abs(sum);
      for (int k = 0; k < depth; ++k) {
        const double p = a.at(precision, i, k) * b.at(precision, k, j);
        sum += p;
        size += std::abs(p);
      }
      ASSERT_NEAR(is, sum, 1e-6 * size)
          << rows << 'x' << depth << 'x' << cols << " at " << i << ' ' << j << " add " << add;
    }
  }
}

int any(Random& random, int most) { return 1 + static_cast<int>(random.below(static_cast<uint64_t>(most))); }

class Matmul : public testing::TestWithParam<Precision> {};

TEST_P(Matmul, IsTheSumOfProducts) {
  Random random(1);
  TestContext test(2);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int rows = any(random, repeat % 3 ? 100 : 300), depth = any(random, repeat % 5 ? 70 : 500),
              cols = any(random, repeat % 4 ? 100 : 400);
    const Operands a(random, rows, depth, repeat % 2, any(random, 4) - 1),
        b(random, depth, cols, repeat / 2 % 2, any(random, 4) - 1);
    const bool add = random.below(2);
    expect_sums(GetParam(), a, b, add, product(test.ctx, GetParam(), a, b, add));
  }
}

TEST_P(Matmul, EveryInstructionSetAndNumberOfThreadsGivesTheSameBits) {
  Random random(2);
  const int sizes[][3] = {{1, 1, 1},    {5, 2, 17},   {16, 64, 16},   {31, 33, 47},
                          {128, 96, 8}, {9, 500, 49}, {130, 70, 300}, {64, 1, 257}};
  for (const auto& [rows, depth, cols] : sizes) {
    for (int form = 0; form < 8; ++form) {
      const Operands a(random, rows, depth, form & 1, 1), b(random, depth, cols, form & 2, 2);
      const bool add = form & 4;
      TestContext reference(1, false, Isa::scalar);
      const auto expected = product(reference.ctx, GetParam(), a, b, add);
      for (const Isa isa : supported_isas()) {
        for (const int threads : {1, 3}) {
          TestContext test(threads, false, isa);
          ASSERT_EQ(product(test.ctx, GetParam(), a, b, add), expected)
              << rows << 'x' << depth << 'x' << cols << " form " << form << ' ' << name(isa) << " threads "
              << threads;
        }
      }
    }
  }
}

TEST_P(Matmul, NothingSummedIsNothingAdded) {
  TestContext test(2);
  std::vector<float> out(6, 2.0f);
  const MatrixView a{nullptr, 2, 0, 0, false}, b{nullptr, 0, 3, 3, false};
  matmul(test.ctx, GetParam(), a, b, out.data(), 3, true);
  EXPECT_EQ(out, std::vector<float>(6, 2.0f));
  matmul(test.ctx, GetParam(), a, b, out.data(), 3);
  EXPECT_EQ(out, std::vector<float>(6, 0.0f));
  const MatrixView none{nullptr, 0, 4, 4, false}, some{out.data(), 4, 1, 1, false};
  matmul(test.ctx, GetParam(), none, some, nullptr, 1);
}

INSTANTIATE_TEST_SUITE_P(Precisions, Matmul, testing::Values(Precision::f32, Precision::bf16),
                         [](const auto& test) { return test.param == Precision::f32 ? "f32" : "bf16"; });

}  // namespace
}  // namespace minke
