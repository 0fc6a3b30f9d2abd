#include "ops/expert_training.h"

#include "ops/test_gradient.h"

namespace minke {
namespace {

constexpr int kTokens = 5, kDim = 6, kInter = 4, kExperts = 4, kActive = 2;

Mat mat(const std::vector<float>& values, int rows, int cols) {
  return {
      reinterpret_cast<const std::byte*>(values.data()), nullptr, Format::f32, rows, cols, int64_t{cols} * 4};
}

// Experts with their gradients, both by kind: gate, up, down of all experts.
struct ExpertSet {
  static constexpr int kSize = kExperts * kInter * kDim;
  explicit ExpertSet(Random& random) {
    for (int i = 0; i < 3; ++i) {
      weights[i] = random_floats(random, kSize);
      grads[i].resize(kSize);
    }
    for (int e = 0; e < kExperts; ++e) {
      const int64_t at = int64_t{e} * kInter * kDim;
      const auto part = [&](int i, int rows, int cols) {
        return Mat{reinterpret_cast<const std::byte*>(weights[i].data() + at),
                   nullptr,
                   Format::f32,
                   rows,
                   cols,
                   int64_t{cols} * 4};
      };
      experts.push_back({part(0, kInter, kDim), part(1, kInter, kDim), part(2, kDim, kInter)});
      gradients.push_back({grads[0].data() + at, grads[1].data() + at, grads[2].data() + at});
    }
  }
  std::vector<float> weights[3], grads[3];
  std::vector<Expert> experts;
  std::vector<ExpertGradient> gradients;
};

double reference(const std::vector<int32_t>& ids, const std::vector<float>& dout, const Doubles& x,
                 const Doubles& router, const Doubles& gate, const Doubles& up, const Doubles& down) {
  double sum = 0;
  for (int i = 0; i < kTokens * kActive; ++i) {
    const int t = i / kActive, e = ids[static_cast<size_t>(i)];
    Doubles inner(kInter);
    for (int j = 0; j < kInter; ++j) {
      double g = 0, u = 0;
      for (int d = 0; d < kDim; ++d) {
        const size_t at = static_cast<size_t>((e * kInter + j) * kDim + d);
        g += gate[at] * x[static_cast<size_t>(t * kDim + d)];
        u += up[at] * x[static_cast<size_t>(t * kDim + d)];
      }
      inner[static_cast<size_t>(j)] = g / (1 + std::exp(-g)) * u;
    }
    for (int d = 0; d < kDim; ++d)
      for (int j = 0; j < kInter; ++j)
        sum += dout[static_cast<size_t>(t * kDim + d)] * router[static_cast<size_t>(i)] *
               down[static_cast<size_t>((e * kDim + d) * kInter + j)] * inner[static_cast<size_t>(j)];
  }
  return sum;
}

TEST(ExpertTraining, GradientsAreThoseOfTheFormula) {
  Random random(1);
  constexpr int kSlots = kTokens * kActive;
  const auto x_values = random_floats(random, kTokens * kDim), router = random_floats(random, kSlots);
  ExpertSet set(random);
  const std::vector<int32_t> ids = {0, 1, 1, 3, 0, 3, 0, 1, 1, 3};  // nobody goes to expert 2
  const auto dout = random_floats(random, kTokens * kDim);
  TestContext t(2);
  std::vector<int32_t> order(kSlots), starts(kExperts + 1);
  std::vector<float> gate(kSlots * kInter), up(gate.size()), rows(kSlots * kDim), back(rows.size()),
      inner(gate.size()), dgate(gate.size()), dup(gate.size()), out(kTokens * kDim), dx(out.size()),
      drouter(kSlots);
  const TrainedExperts e{kExperts,      kActive,      kInter,        set.experts, ids.data(),
                         router.data(), order.data(), starts.data(), gate.data(), up.data()};
  const ExpertScratch scratch{rows.data(), back.data(), inner.data(), dgate.data(), dup.data()};
  const Rows x{x_values.data(), kDim, kTokens, kDim};
  train_experts(t.ctx, Precision::f32, e, x, scratch, {}, out.data());
  train_experts_backward(t.ctx, Precision::f32, e, x, dout.data(), scratch, {}, dx.data(), drouter.data(),
                         set.gradients);
  const Doubles X = doubles(x_values), R = doubles(router), G = doubles(set.weights[0]),
                U = doubles(set.weights[1]), D = doubles(set.weights[2]);
  EXPECT_NEAR(weighted(doubles(out), dout), reference(ids, dout, X, R, G, U, D), 1e-4);
  expect_gradient(x_values, dx, [&](const Doubles& at) { return reference(ids, dout, at, R, G, U, D); }, "x");
  expect_gradient(
      router, drouter, [&](const Doubles& at) { return reference(ids, dout, X, at, G, U, D); }, "router");
  expect_gradient(
      set.weights[0], set.grads[0], [&](const Doubles& at) { return reference(ids, dout, X, R, at, U, D); },
      "gate");
  expect_gradient(
      set.weights[1], set.grads[1], [&](const Doubles& at) { return reference(ids, dout, X, R, G, at, D); },
      "up");
  expect_gradient(
      set.weights[2], set.grads[2], [&](const Doubles& at) { return reference(ids, dout, X, R, G, U, at); },
      "down");
}

// What one call makes of random numbers; ranks: over those of Comm{}, which sends everything to itself.
std::vector<std::vector<float>> made(int tokens, bool ranks) {
  Random random(static_cast<uint64_t>(tokens));
  const size_t slots = static_cast<size_t>(tokens * kActive), wide = slots * kDim, narrow = slots * kInter;
  const auto x = random_floats(random, tokens * kDim), router = random_floats(random, tokens * kActive),
             dout = random_floats(random, tokens * kDim);
  ExpertSet set(random);
  std::vector<int32_t> ids, order(slots), starts(kExperts + 1);
  for (size_t i = 0; i < slots; ++i)
    ids.push_back(static_cast<int32_t>(i % 2 == 0 ? random.below(2) : 2 + random.below(2)));
  std::vector<float> gate(narrow), up(narrow), rows(wide), back(wide), inner(narrow), dgate(narrow),
      dup(narrow), out(x.size()), dx(x.size()), drouter(slots);
  const Comm alone;
  ExpertsRows kept;
  ExpertsSpace space;
  const ExpertsOverRanks over{&alone, &kept, &space};
  TrainedExperts e{kExperts,      kActive,      kInter,        set.experts, ids.data(),
                   router.data(), order.data(), starts.data(), gate.data(), up.data()};
  ExpertScratch scratch{rows.data(), back.data(), inner.data(), dgate.data(), dup.data()};
  if (ranks) {
    e.ranks = &over;
    e.gate = e.up = scratch.inner = scratch.dgate = scratch.dup = nullptr;
  }
  TestContext t(2);
  train_experts(t.ctx, Precision::f32, e, {x.data(), kDim, tokens, kDim}, scratch, {}, out.data());
  train_experts_backward(t.ctx, Precision::f32, e, {x.data(), kDim, tokens, kDim}, dout.data(), scratch, {},
                         dx.data(), drouter.data(), set.gradients);
  return {out, dx, drouter, set.grads[0], set.grads[1], set.grads[2]};
}

TEST(ExpertTraining, OverRanksTheSameBits) {
  for (const int tokens : {0, 1, 2, 7, 40}) EXPECT_EQ(made(tokens, true), made(tokens, false)) << tokens;
}

TEST(ExpertTraining, ProjectionsAndBiases) {
  Random random(2);
  TestContext t(2);
  constexpr int kRows = 4, kOut = 3;
  const auto x = random_floats(random, kRows * kDim), w = random_floats(random, kOut * kDim),
             dy = random_floats(random, kRows * kOut);
  std::vector<float> dx(x.size()), dw(w.size()), db(kOut);
  const Rows back{dy.data(), kOut, kRows, kOut};
  project_backward(t.ctx, Precision::f32, {x.data(), kDim, kRows, kDim}, mat(w, kOut, kDim), back,
                   {dx.data(), kDim}, false, dw.data());
  bias_backward(t.ctx, back, db.data());
  const auto f = [&](const Doubles& a, const Doubles& b, const Doubles& c) {
    double sum = 0;
    for (size_t r = 0; r < kRows; ++r)
      for (size_t o = 0; o < kOut; ++o) {
        double y = c[o];
        for (size_t i = 0; i < kDim; ++i) y += b[o * kDim + i] * a[r * kDim + i];
        sum += dy[r * kOut + o] * y;
      }
    return sum;
  };
  const std::vector<float> b(kOut);
  expect_gradient(x, dx, [&](const Doubles& at) { return f(at, doubles(w), doubles(b)); }, "x");
  expect_gradient(w, dw, [&](const Doubles& at) { return f(doubles(x), at, doubles(b)); }, "w");
  expect_gradient(b, db, [&](const Doubles& at) { return f(doubles(x), doubles(w), at); }, "b");
}

}  // namespace
}  // namespace minke
