// Training's kernels: right against double, and the same bits on every instruction set, at every edge.

#include "kernels/training.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/test_data.h"

namespace minke {
namespace {

TEST(TileProduct, EqualsTheFormulaOnEveryInstructionSet) {
  Random random(1);
  for (const int rows : {1, 3, 8, 13})
    for (const int columns : {1, 15, 16, 33, 70})
      for (const int inner : {1, 17})
        for (const bool transposed : {false, true}) {
          const int64_t b_stride = columns + 3, out_stride = columns + 1;
          const auto a = random_floats(random, rows * inner), b = random_floats(random, inner * b_stride),
                     before = random_floats(random, rows * out_stride);
          std::vector<float> first;
          for (const Isa isa : supported_isas()) {
            std::vector<float> out = before;
            const TileProduct p{rows,
                                columns,
                                inner,
                                a.data(),
                                transposed ? 1 : inner,
                                transposed ? rows : 1,
                                b.data(),
                                b_stride,
                                out.data(),
                                out_stride,
                                transposed};
            kernels_for(isa).training.tile_product(p);
            if (first.empty()) first = out;
            ASSERT_EQ(out, first) << name(isa);
          }
          for (int i = 0; i < rows; ++i)
            for (int64_t j = 0; j < out_stride; ++j) {
              const size_t at = static_cast<size_t>(i * out_stride + j);
              double sum = transposed ? before[at] : 0;
              for (int k = 0; k < inner; ++k)
                sum += double{a[static_cast<size_t>(transposed ? k * rows + i : i * inner + k)]} *
                       b[static_cast<size_t>(k * b_stride + j)];
              if (j < columns)
                ASSERT_NEAR(first[at], sum, 1e-5);
              else
                ASSERT_EQ(first[at], before[at]) << "beside the product";
            }
        }
}

TEST(TrainingRows, GiveTheSameBitsEverywhere) {
  Random random(2);
  for (const int n : {1, 15, 16, 100, 577}) {
    const auto x = random_floats(random, n), w = random_floats(random, n), dy = random_floats(random, n);
    std::vector<float> first;
    for (const Isa isa : supported_isas()) {
      const TrainingKernels& k = kernels_for(isa).training;
      std::vector<float> dx = dy, dgate(x.size()), dup(x.size()), dscores = dy;
      dx.push_back(k.rmsnorm_backward(x.data(), w.data(), 1e-5f, dy.data(), n, dx.data()));
      k.silu_mul_backward(x.data(), w.data(), dy.data(), n, dgate.data(), dup.data());
      k.softmax_backward(x.data(), 0.3f, n, dscores.data());
      std::vector<float> added = dy, relu = x;
      k.relu_add(added.data(), x.data(), 0.7f, n);
      relu.push_back(k.relu_add_backward(relu.data(), dy.data(), 0.7f, n));
      for (const auto* more : {&dgate, &dup, &dscores, &added, &relu})
        dx.insert(dx.end(), more->begin(), more->end());
      if (first.empty()) first = dx;
      ASSERT_EQ(dx, first) << name(isa) << ' ' << n;
    }
  }
}

TEST(TrainingRows, ReluAndItsGradient) {
  const std::vector<float> x = {1.5f, -1, 0, -0.0f, 1e-44f, -1e-44f, 1e38f, 2},
                           dy = {1, 2, 3, 4, 5, 6, 0, -1};
  const int n = static_cast<int>(x.size());
  for (const Isa isa : supported_isas()) {
    const TrainingKernels& k = kernels_for(isa).training;
    std::vector<float> y = dy, back = x;
    k.relu_add(y.data(), x.data(), 2, n);
    EXPECT_EQ(y, (std::vector<float>{4, 2, 3, 4, 5, 6, 2e38f, 3})) << name(isa);
    EXPECT_EQ(k.relu_add_backward(back.data(), dy.data(), 2, n), 1.5f - 2) << name(isa);
    EXPECT_EQ(back, (std::vector<float>{2, 0, 0, 0, 10, 0, 0, -2})) << name(isa);
  }
}

}  // namespace
}  // namespace minke
