#include "ops/experts.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "ops/test_ops.h"

namespace minke {
namespace {

class OwnedExperts : public ExpertSource {
 public:
  OwnedExperts(Random& random, std::array<Format, 3> formats, int experts, int dim, int inter) {
    const std::pair<int, int> shapes[] = {{inter, dim}, {inter, dim}, {dim, inter}};
    for (int e = 0; e < experts; ++e) {
      for (size_t m = 0; m < 3; ++m)
        mats_.push_back(
            std::make_unique<OwnedMat>(random_mat(random, formats[m], shapes[m].first, shapes[m].second)));
      experts_.push_back({mats_[mats_.size() - 3]->mat, mats_[mats_.size() - 2]->mat, mats_.back()->mat});
    }
  }
  void want(int, std::span<const int32_t> ids) override { wanted_ = {ids.begin(), ids.end()}; }
  const Expert& get(int, int e) override { return experts_[static_cast<size_t>(e)]; }
  void done(int) override { ++done_; }

  std::vector<int32_t> wanted_;
  int done_ = 0;

 private:
  std::vector<std::unique_ptr<OwnedMat>> mats_;
  std::vector<Expert> experts_;
};

std::vector<double> product(const Mat& w, const std::vector<double>& x) {
  std::vector<float> row(static_cast<size_t>(w.cols));
  std::vector<double> y;
  for (int r = 0; r < w.rows; ++r) {
    dequantize_row(w, r, row.data());
    double sum = 0;
    for (size_t i = 0; i < row.size(); ++i) sum += double{row[i]} * x[i];
    y.push_back(sum);
  }
  return y;
}

std::vector<double> expert_of(const Expert& e, const std::vector<double>& x) {
  std::vector<double> gate = product(e.gate, x);
  const std::vector<double> up = product(e.up, x);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return product(e.down, gate);
}

struct Case {
  int experts, active, dim, inter, tokens;
  std::vector<int32_t> ids;
  std::vector<float> weights, x;
  bool scale_input = false;
};

std::vector<float> run(TestContext& t, ExpertSource& source, const Case& c, int first, int count) {
  const int slots = count * c.active;
  std::vector<float> gate(static_cast<size_t>(slots * c.inter)), up(gate),
      out(static_cast<size_t>(count * c.dim), 1.0f);  // what is there is added to
  std::vector<int32_t> order(static_cast<size_t>(slots)), tokens(order),
      starts(static_cast<size_t>(c.experts + 1)), used(static_cast<size_t>(c.experts));
  std::vector<float> factors(static_cast<size_t>(slots));
  const ExpertBatch batch{0,
                          c.experts,
                          c.active,
                          c.dim,
                          c.inter,
                          {c.x.data() + first * c.dim, c.dim, count, c.dim},
                          c.ids.data() + first * c.active,
                          c.weights.data() + first * c.active,
                          c.scale_input};
  run_experts(
      t.ctx, t.work, source, batch,
      {gate.data(), up.data(), order.data(), tokens.data(), factors.data(), starts.data(), used.data()},
      out.data());
  return out;
}

Case draw(Random& random) {
  Case c;
  c.experts = 1 + static_cast<int>(random.below(12));
  c.active = 1 + static_cast<int>(random.below(static_cast<uint64_t>(std::min(c.experts, 4))));
  c.dim = 32 * static_cast<int>(1 + random.below(3));
  c.inter = 32 * static_cast<int>(1 + random.below(3));
  c.tokens = 1 + static_cast<int>(random.below(30));
  c.scale_input = random.below(2);
  const auto kind = random.below(3);  // any experts; all tokens to the same; the last ones only
  for (int t = 0; t < c.tokens; ++t) {
    std::vector<int32_t> all(static_cast<size_t>(c.experts));
    for (int e = 0; e < c.experts; ++e) all[static_cast<size_t>(e)] = kind == 2 ? c.experts - 1 - e : e;
    if (kind == 0)
      for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.below(i)]);
    std::sort(all.begin(), all.begin() + c.active);
    c.ids.insert(c.ids.end(), all.begin(), all.begin() + c.active);
  }
  c.weights = random_floats(random, c.tokens * c.active);
  c.x = random_floats(random, c.tokens * c.dim);
  return c;
}

TEST(Experts, AsTheFormulaSaysAndAloneAsInABatch) {
  constexpr Format kFormats[] = {Format::f32, Format::bf16, Format::q8_0, Format::q4_0, Format::mxfp4};
  EXPECT_TRUE(rc::check([&] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Case c = draw(random);
    const auto format = [&] { return kFormats[random.below(std::size(kFormats))]; };
    OwnedExperts source(random, {format(), format(), format()}, c.experts, c.dim, c.inter);
    TestContext three(3);
    const std::vector<float> out = run(three, source, c, 0, c.tokens);
    RC_ASSERT(source.wanted_ == c.ids);
    RC_ASSERT(source.done_ == 1);
    for (int t = 0; t < c.tokens; ++t) {
      std::vector<double> wanted(static_cast<size_t>(c.dim), 1.0);
      double size = 1;
      for (int k = 0; k < c.active; ++k) {
        const float weight = c.weights[static_cast<size_t>(t * c.active + k)];
        std::vector<double> x(c.x.begin() + t * c.dim, c.x.begin() + (t + 1) * c.dim);
        if (c.scale_input)
          for (double& v : x) v *= weight;
        const std::vector<double> y =
            expert_of(source.get(0, c.ids[static_cast<size_t>(t * c.active + k)]), x);
        for (size_t i = 0; i < y.size(); ++i) {
          wanted[i] += (c.scale_input ? 1 : weight) * y[i];
          size = std::max(size, std::abs((c.scale_input ? 1 : weight) * y[i]));
        }
      }
      for (int i = 0; i < c.dim; ++i)
        RC_ASSERT(std::abs(out[static_cast<size_t>(t * c.dim + i)] - wanted[static_cast<size_t>(i)]) <
                  2e-5 * size);
    }
    // A token alone meets what was rounded for it, tokens of a batch what was gathered for each expert.
    for (const bool round : {false, true}) {
      TestContext some(3, round), alone(1, round);
      const std::vector<float> all = run(some, source, c, 0, c.tokens);
      for (int t = 0; t < c.tokens; ++t) {
        const std::vector<float> row = run(alone, source, c, t, 1);
        RC_ASSERT(std::memcmp(row.data(), all.data() + t * c.dim, row.size() * 4) == 0);
      }
      RC_ASSERT(run(alone, source, c, 0, 0).empty());
    }
  }));
}

}  // namespace
}  // namespace minke
