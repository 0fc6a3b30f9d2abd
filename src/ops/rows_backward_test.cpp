#include "ops/rows_backward.h"

#include "ops/test_gradient.h"

namespace minke {
namespace {

constexpr int kRows = 5, kCols = 37;

Doubles rmsnorm(const Doubles& x, const Doubles& w, double eps) {
  Doubles y(x.size());
  for (size_t r = 0; r < x.size(); r += w.size()) {
    double squares = 0;
    for (size_t i = 0; i < w.size(); ++i) squares += x[r + i] * x[r + i];
    for (size_t i = 0; i < w.size(); ++i)
      y[r + i] = x[r + i] / std::sqrt(squares / static_cast<double>(w.size()) + eps) * w[i];
  }
  return y;
}

TEST(RowsBackward, Rmsnorm) {
  Random random(1);
  for (const int threads : {1, 3}) {
    TestContext t(threads);
    const auto x = random_floats(random, kRows * kCols), w = random_floats(random, kCols),
               dy = random_floats(random, kRows * kCols);
    std::vector<float> dx(x.size(), 1.0f), dw(w.size(), 2.0f);
    rmsnorm_backward(t.ctx, {x.data(), kCols, kRows, kCols}, w.data(), 1e-3f,
                     {dy.data(), kCols, kRows, kCols}, dx.data(), kCols, dw.data());
    for (float& v : dx) v -= 1.0f;  // both are added to
    for (float& v : dw) v -= 2.0f;
    expect_gradient(
        x, dx, [&](const Doubles& at) { return weighted(rmsnorm(at, doubles(w), 1e-3), dy); }, "x");
    expect_gradient(
        w, dw, [&](const Doubles& at) { return weighted(rmsnorm(doubles(x), at, 1e-3), dy); }, "w");
  }
}

Doubles layernorm(const Doubles& x, const Doubles& w, const Doubles& b) {
  Doubles y(x.size());
  const double n = static_cast<double>(w.size());
  for (size_t r = 0; r < x.size(); r += w.size()) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < w.size(); ++i) mean += x[r + i] / n;
    for (size_t i = 0; i < w.size(); ++i) variance += (x[r + i] - mean) * (x[r + i] - mean) / n;
    for (size_t i = 0; i < w.size(); ++i)
      y[r + i] = (x[r + i] - mean) / std::sqrt(variance + 1e-6) * w[i] + b[i];
  }
  return y;
}

TEST(RowsBackward, Layernorm) {
  Random random(2);
  TestContext t(2);
  const auto x = random_floats(random, kRows * kCols), w = random_floats(random, kCols),
             b = random_floats(random, kCols), dy = random_floats(random, kRows * kCols);
  std::vector<float> dx = dy, dw(w.size()), db(b.size());
  layernorm_backward(t.ctx, {x.data(), kCols, kRows, kCols}, w.data(), 1e-6f,
                     {dx.data(), kCols, kRows, kCols}, dx.data(), kCols, dw.data(), db.data());
  const Doubles X = doubles(x), W = doubles(w), B = doubles(b);
  expect_gradient(x, dx, [&](const Doubles& at) { return weighted(layernorm(at, W, B), dy); }, "x");
  expect_gradient(w, dw, [&](const Doubles& at) { return weighted(layernorm(X, at, B), dy); }, "w");
  expect_gradient(b, db, [&](const Doubles& at) { return weighted(layernorm(X, W, at), dy); }, "b");
}

TEST(RowsBackward, RopeOfBothPairings) {
  Random random(3);
  TestContext t(2);
  constexpr int kDims = 8, kWidth = 11,
                kHeads = 2;  // each head's rotated part lies behind three that are not
  const auto x = random_floats(random, kRows * kHeads * kWidth),
             dy = random_floats(random, kRows * kHeads * kWidth),
             angles = random_floats(random, kRows * kDims / 2);
  std::vector<float> cos, sin;
  for (const float a : angles) {
    cos.push_back(1.3f * std::cos(a));  // YaRN may stretch them
    sin.push_back(1.3f * std::sin(a));
  }
  for (const bool half : {false, true}) {
    std::vector<float> dx = dy;
    rope_backward(t.ctx, {cos.data(), sin.data(), kDims, half}, dx.data() + 3, kRows, kHeads * kWidth, kHeads,
                  kWidth);
    const auto f = [&](const Doubles& at) {
      Doubles y = at;
      for (int r = 0; r < kRows * kHeads; ++r)
        for (int i = 0; i < kDims / 2; ++i) {
          const size_t first = static_cast<size_t>(r * kWidth + 3);
          const size_t a = first + static_cast<size_t>(half ? i : 2 * i),
                       b = first + static_cast<size_t>(half ? i + kDims / 2 : 2 * i + 1),
                       angle = static_cast<size_t>(r / kHeads * kDims / 2 + i);
          y[a] = at[a] * cos[angle] - at[b] * sin[angle];
          y[b] = at[a] * sin[angle] + at[b] * cos[angle];
        }
      return weighted(y, dy);
    };
    expect_gradient(x, dx, f, half ? "half" : "pairs");
  }
}

TEST(RowsBackward, SiluMul) {
  Random random(4);
  TestContext t(2);
  const auto gate = random_floats(random, kRows * kCols, 3.0f), up = random_floats(random, kRows * kCols),
             dy = random_floats(random, kRows * kCols);
  std::vector<float> dgate(gate.size()), dup = dy;
  silu_mul_backward(t.ctx, gate.data(), up.data(), dup.data(), kRows, kCols, dgate.data(), dup.data());
  const auto f = [&](const Doubles& g, const Doubles& u) {
    Doubles y(g.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = g[i] / (1 + std::exp(-g[i])) * u[i];
    return weighted(y, dy);
  };
  expect_gradient(gate, dgate, [&](const Doubles& at) { return f(at, doubles(up)); }, "gate");
  expect_gradient(up, dup, [&](const Doubles& at) { return f(doubles(gate), at); }, "up");
}

TEST(RowsBackward, EmbeddingAddsRowsOfTheSameToken) {
  TestContext t(3);
  const std::vector<int32_t> tokens = {2, 0, 2, -1};
  std::vector<float> dx, table(3 * 130, 1.0f);
  for (int r = 0; r < 4; ++r) dx.insert(dx.end(), 130, static_cast<float>(r + 1));
  embedding_backward(t.ctx, tokens, {dx.data(), 130, 4, 130}, table.data());
  for (size_t i = 0; i < 130; ++i) {
    EXPECT_EQ(table[i], 3.0f);
    EXPECT_EQ(table[130 + i], 1.0f);
    EXPECT_EQ(table[260 + i], 5.0f);
  }
}

}  // namespace
}  // namespace minke
