#include "train/muon.h"

#include <cmath>

#include <gtest/gtest.h>

#include "ops/test_ops.h"

namespace minke {
namespace {

struct Tensor {
  MatrixSize size;
  std::vector<float> weight, gradient, momentum;

  Tensor(Random& random, int rows, int cols)
      : size{rows, cols},
        weight(random_floats(random, int64_t{rows} * cols)),
        gradient(random_floats(random, int64_t{rows} * cols)),
        momentum(random_floats(random, int64_t{rows} * cols)) {}
  TrainedTensor view() {
    return {"", weight.data(), gradient.data(), momentum.data(), nullptr, size, true, true};
  }
};

using Matrix = std::vector<double>;  // [rows][cols]

Matrix times(const Matrix& a, const Matrix& b, int rows, int inner, int cols) {
  Matrix c(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  for (int i = 0; i < rows; ++i)
    for (int k = 0; k < inner; ++k)
      for (int j = 0; j < cols; ++j)
        c[static_cast<size_t>(i * cols + j)] +=
            a[static_cast<size_t>(i * inner + k)] * b[static_cast<size_t>(k * cols + j)];
  return c;
}

Matrix turned(const Matrix& a, int rows, int cols) {
  Matrix t(a.size());
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j)
      t[static_cast<size_t>(j * rows + i)] = a[static_cast<size_t>(i * cols + j)];
  return t;
}

// The iteration as its authors write it: X becomes aX + (bA + cA^2) X with A = X X^T.
Matrix orthogonalised(Matrix x, int rows, int cols) {
  double square = 0;
  for (const double v : x) square += v * v;
  for (double& v : x) v /= std::sqrt(square) + 1e-7;
  for (int round = 0; round < 5; ++round) {
    const Matrix a = times(x, turned(x, rows, cols), rows, cols, rows), aa = times(a, a, rows, rows, rows);
    Matrix b(a.size());
    for (size_t i = 0; i < a.size(); ++i) b[i] = -4.7750 * a[i] + 2.0315 * aa[i];
    const Matrix bx = times(b, x, rows, rows, cols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 3.4445 * x[i] + bx[i];
  }
  return x;
}

std::vector<Tensor> some_tensors(uint64_t seed) {
  Random random(seed);
  std::vector<Tensor> tensors;
  for (const auto& [rows, cols] : {std::pair{8, 20}, {20, 8}, {13, 13}, {1, 9}, {40, 33}})
    tensors.emplace_back(random, rows, cols);
  return tensors;
}

void step(std::vector<Tensor>& tensors, int threads, Precision precision, double rate) {
  TestContext test(threads);
  std::vector<TrainedTensor> views;
  for (Tensor& t : tensors) views.push_back(t.view());
  muon_step(test.ctx, precision, {}, rate, 0.5, views, Memory(muon_bytes(views), "the iteration"));
}

TEST(Muon, MovesAlongTheOrthogonalisedMomentum) {
  std::vector<Tensor> tensors = some_tensors(1);
  const std::vector<Tensor> before = tensors;
  step(tensors, 2, Precision::f32, 0.1);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor &t = tensors[i], &old = before[i];
    Matrix u;
    for (size_t j = 0; j < t.weight.size(); ++j) {
      const double momentum = 0.95 * old.momentum[j] + 0.5 * old.gradient[j];
      EXPECT_NEAR(t.momentum[j], momentum, 1e-6);
      u.push_back(0.5 * old.gradient[j] + 0.95 * momentum);
    }
    const Matrix o = orthogonalised(u, t.size.rows, t.size.cols);
    const double by = 0.1 * 0.2 * std::sqrt(std::max(t.size.rows, t.size.cols));
    for (size_t j = 0; j < o.size(); ++j)
      EXPECT_NEAR(t.weight[j], 0.99 * old.weight[j] - by * o[j], 2e-5) << i << ' ' << j;
  }
}

TEST(Muon, StepsHaveSingularValuesNearOne) {
  std::vector<Tensor> tensors = some_tensors(2);
  const std::vector<Tensor> before = tensors;
  step(tensors, 1, Precision::bf16, 1e-3);
  Random random(3);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto [rows, cols] = tensors[i].size;
    const double by = 1e-3 * 0.2 * std::sqrt(std::max(rows, cols));
    const bool wide = rows <= cols;
    for (int n = 0; n < 10; ++n) {  // a unit vector keeps its length, about
      const auto v = random_floats(random, wide ? rows : cols);
      double length = 0, moved = 0;
      for (const float x : v) length += double{x} * x;
      for (int k = 0; k < (wide ? cols : rows); ++k) {
        double sum = 0;
        for (int j = 0; j < (wide ? rows : cols); ++j) {
          const auto at = static_cast<size_t>(wide ? j * cols + k : k * cols + j);
          sum += v[static_cast<size_t>(j)] *
                 ((1 - 1e-3 * 0.1) * before[i].weight[at] - tensors[i].weight[at]) / by;
        }
        moved += sum * sum;
      }
      EXPECT_GT(std::sqrt(moved / length), 0.6) << i;
      EXPECT_LT(std::sqrt(moved / length), 1.3) << i;
    }
  }
}

TEST(Muon, SameBitsWithAnyNumberOfThreads) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    std::vector<Tensor> one = some_tensors(4);
    step(one, 1, precision, 0.01);
    for (const int threads : {2, 3}) {
      std::vector<Tensor> other = some_tensors(4);
      step(other, threads, precision, 0.01);
      for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i].weight, other[i].weight) << i;
    }
  }
}

}  // namespace
}  // namespace minke
