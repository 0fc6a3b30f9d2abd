// Products of every shape and transposition: right against sums in double, and the same bits whatever the
// threads, instruction sets and strides.

#include "ops/matmul.h"

#include <bit>
#include <cmath>
#include <memory>

#include <gtest/gtest.h>

#include "base/memory.h"
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

struct Sizes {
  int rows, depth, cols;
};

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
  TestContext reference(1, false, Isa::scalar);
  std::vector<std::unique_ptr<TestContext>> tests;
  for (const Isa isa : supported_isas())
    for (const int threads : {1, 3}) tests.push_back(std::make_unique<TestContext>(threads, false, isa));
  for (const auto& [rows, depth, cols] : {Sizes{1, 1, 1},
                                          {5, 2, 17},
                                          {16, 64, 16},
                                          {31, 33, 47},
                                          {128, 96, 8},
                                          {9, 500, 49},
                                          {130, 70, 300},
                                          {64, 1, 257}}) {
    for (int form = 0; form < 8; ++form) {
      const Operands a(random, rows, depth, form & 1, 1), b(random, depth, cols, form & 2, 2);
      const bool add = form & 4;
      const auto expected = product(reference.ctx, GetParam(), a, b, add);
      for (const auto& test : tests)
        ASSERT_EQ(product(test->ctx, GetParam(), a, b, add), expected)
            << rows << 'x' << depth << 'x' << cols << " form " << form << ' ' << name(test->ctx.kernels.isa)
            << " threads " << test->ctx.pool.size();
    }
  }
}

TEST_P(Matmul, LargeOnesGoPartByPart) {
  Random random(3);
  const Isa other = supported(Isa::avx2) ? Isa::avx2 : Isa::scalar;
  TestContext one(1), two(2), reference(1, false, other);
  for (const auto& [rows, depth, cols] : {Sizes{20, 2501, 40}, {3, 2050, 2200}, {2201, 1100, 5}}) {
    const Operands a(random, rows, depth, rows < 10, 0), b(random, depth, cols, cols < 10, 0);
    for (const bool add : {false, true}) {
      const auto out = product(two.ctx, GetParam(), a, b, add);
      if (!add) expect_sums(GetParam(), a, b, add, out);
      ASSERT_EQ(product(one.ctx, GetParam(), a, b, add), out) << rows;
      ASSERT_EQ(product(reference.ctx, GetParam(), a, b, add), out) << rows;
    }
  }
}

TEST_P(Matmul, ManyAtOnceGiveWhatEachGives) {
  Random random(4);
  TestContext test(2);
  for (const int count : {0, 1, 3, 40}) {
    std::vector<Operands> left, right;
    std::vector<std::vector<float>> expected;
    for (int i = 0; i < count; ++i) {
      const int rows = any(random, 60), depth = any(random, i % 10 ? 60 : 1500),
                cols = any(random, i % 13 ? 90 : 900);
      left.emplace_back(random, rows, depth, random.below(2), 1);
      right.emplace_back(random, depth, cols, random.below(2), 2);
      expected.push_back(product(test.ctx, GetParam(), left.back(), right.back(), i % 2));
    }
    std::vector<std::vector<float>> out, here;
    std::vector<MatrixProduct> products;
    for (size_t i = 0; i < expected.size(); ++i) {
      out.emplace_back(expected[i].size(), 3.0f);
      here.push_back(out.back());
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      const int64_t stride = right[i].view.cols + kPad;
      products.push_back({left[i].view, right[i].view, out[i].data(), stride, i % 2 == 1});
      matmul_here(test.ctx.kernels, GetParam(),
                  {left[i].view, right[i].view, here[i].data(), stride, i % 2 == 1});
    }
    matmul(test.ctx, GetParam(), products);
    EXPECT_EQ(out, expected);
    EXPECT_EQ(here, expected);
  }
}

TEST_P(Matmul, APackedOperandGivesTheSame) {
  Random random(7);
  TestContext test(2);
  for (const auto& [rows, depth, cols] :
       {Sizes{40, 64, 100}, {3, 2501, 300}, {700, 30, 17}, {2, 2050, 2200}}) {
    for (const bool transposed : {false, true}) {
      const Operands a(random, rows, depth, false, 0), b(random, depth, cols, transposed, 1);
      const Memory memory(packed_bytes(depth, cols), "a packed operand");
      const PackedMatrix packed = pack_here(test.ctx.kernels, GetParam(), b.view, memory.data());
      const auto expected = product(test.ctx, GetParam(), a, b, false);
      std::vector<float> out(expected.size(), 3.0f);
      const MatrixView shape{nullptr, depth, cols, 0, false};
      const MatrixProduct whole{a.view, shape, out.data(), cols + kPad, false, &packed};
      matmul(test.ctx, GetParam(), std::span(&whole, 1));
      ASSERT_EQ(out, expected) << rows << ' ' << depth << ' ' << cols;
      out.assign(out.size(), 3.0f);
      matmul_here(test.ctx.kernels, GetParam(), whole);
      ASSERT_EQ(out, expected) << rows << ' ' << depth << ' ' << cols;
    }
  }
}

TEST_P(Matmul, OfAPackedOperandTheFirstRowsAndColumns) {
  Random random(8);
  TestContext test(2);
  const Operands a(random, 30, 100, false, 0), b(random, 100, 80, true, 0);
  const Memory memory(packed_bytes(100, 80), "a packed operand");
  const PackedMatrix packed = pack_here(test.ctx.kernels, GetParam(), b.view, memory.data());
  for (const auto& [rows, cols] : {std::pair{100, 33}, {51, 80}, {2, 5}}) {
    Operands left = a, right = b;
    left.view.cols = right.view.rows = rows;
    right.view.cols = cols;
    const auto expected = product(test.ctx, GetParam(), left, right, true);
    std::vector<float> out(expected.size(), 3.0f);
    left.view.data = left.memory.data();
    matmul_here(test.ctx.kernels, GetParam(),
                {left.view, right.view, out.data(), cols + kPad, true, &packed});
    ASSERT_EQ(out, expected) << rows << ' ' << cols;
  }
}

// Gradients of what is next to impossible are smaller than the smallest normal number.
TEST_P(Matmul, DenormalsGiveTheSameBitsEverywhere) {
  Random random(5);
  Operands a(random, 20, 50, false, 0), b(random, 50, 33, true, 0);
  for (float& x : a.memory) x *= random.below(2) ? 3e-39f : 1e-20f;
  for (float& x : b.memory) x *= random.below(2) ? 3e-39f : random.below(2) ? 1e-18f : 1.0f;
  TestContext reference(1, false, Isa::scalar);
  const auto expected = product(reference.ctx, GetParam(), a, b, false);
  for (const Isa isa : supported_isas()) {
    TestContext test(1, false, isa);
    ASSERT_EQ(product(test.ctx, GetParam(), a, b, false), expected) << name(isa);
  }
}

TEST_P(Matmul, WhatIsNotFiniteIsSeen) {
  Random random(6);
  for (const Isa isa : supported_isas()) {
    TestContext test(1, false, isa);
    for (const uint32_t bits : {0x7f800000u, 0x7fc00000u, 0x7f800001u, 0xffffffffu}) {
      for (const bool transposed : {false, true}) {
        Operands a(random, 3, 7, transposed, 0), b(random, 7, 5, false, 0);
        a.memory[a.memory.size() / 2] = std::bit_cast<float>(bits);  // in the middle either way
        const auto out = product(test.ctx, GetParam(), a, b, false);
        for (int i = 0; i < 3; ++i)
          for (int j = 0; j < 5; ++j)
            EXPECT_EQ(std::isfinite(out[static_cast<size_t>(i * (5 + kPad) + j)]), i != 1)
                << name(isa) << bits;
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
