#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace minke {
namespace {

constexpr int64_t kShare = 1 << 15;  // numbers that a thread takes at a time

struct Share {
  size_t tensor;
  int64_t begin, end;
};

std::vector<Share> shares_of(std::span<const TrainedTensor> tensors) {
  std::vector<Share> shares;
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int64_t begin = 0; begin < tensors[i].count(); begin += kShare)
      shares.push_back({i, begin, std::min(begin + kShare, tensors[i].count())});
  return shares;
}

}  // namespace

std::vector<TrainedTensor> trained_tensors(const Config& config, const Weights& weights,
                                           const Weights& gradients, const Weights& first,
                                           const Weights& second) {
  std::vector<TrainedTensor> tensors;
  for_each_pair(config, weights, gradients, [&](const WeightSlot& slot, const Mat& w, const Mat& g) {
    tensors.push_back({describe(slot), data(w), data(g), nullptr, nullptr, MatrixSize{slot.rows, slot.cols},
                       !slot.vector, is_hidden_matrix(slot), static_cast<int>(tensors.size())});
  });
  size_t i = 0;
  for_each_pair(config, first, second, [&](const WeightSlot&, const Mat& m, const Mat& v) {
    tensors[i].first = data(m);
    tensors[i++].second = data(v);
  });
  std::erase_if(tensors, [](const TrainedTensor& t) { return !t.gradient; });
  return tensors;
}

std::vector<TrainedTensor> trained_tensors(const Adapters& adapters, const Adapters& gradients,
                                           const Adapters& first, const Adapters& second) {
  std::vector<TrainedTensor> tensors;
  for_each_adapter(adapters, [&](int layer, const AdaptedMatrix& matrix, const Adapter& adapter) {
    for (Mat Adapter::* part : {&Adapter::a, &Adapter::b}) {
      const auto in = [&](const Adapters& set) {
        return data(set.layers()[static_cast<size_t>(layer)].*matrix.adapter.*part);
      };
      const Mat& m = adapter.*part;
      tensors.push_back(
          {fmt::format("adapter {} of {} of layer {}", part == &Adapter::a ? 'A' : 'B', matrix.name, layer),
           data(m), in(gradients), in(first), in(second), MatrixSize{m.rows, m.cols}, true});
    }
  });
  return tensors;
}

double gradient_squares(const Context& ctx, std::span<const TrainedTensor> tensors) {
  const std::vector<Share> shares = shares_of(tensors);
  std::vector<double> squares(shares.size());
  ctx.pool.for_each(static_cast<int64_t>(shares.size()), 1, [&](int64_t i, int64_t, int) {
    const Share& share = shares[static_cast<size_t>(i)];
    const float* g = tensors[share.tensor].gradient;
    double sums[8] = {};  // so that additions need not wait for each other
    for (int64_t j = share.begin; j < share.end; ++j) sums[j % 8] += double{g[j]} * g[j];
    squares[static_cast<size_t>(i)] =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  });
  double total = 0;
  for (const double s : squares) total += s;
  return total;
}

double gradient_norm(const Context& ctx, std::span<const TrainedTensor> tensors) {
  return std::sqrt(gradient_squares(ctx, tensors));
}

double clip_factor(const AdamW& options, double norm) {
  return options.clip > 0 ? std::min(1.0, options.clip / (norm + 1e-6)) : 1.0;
}

void adamw_step(const Context& ctx, const AdamW& o, double rate, int64_t step, double factor,
                std::span<const TrainedTensor> tensors) {
  const std::vector<Share> shares = shares_of(tensors);
  const double first_part = 1 - std::pow(o.beta1, static_cast<double>(step)),
               second_part = 1 - std::pow(o.beta2, static_cast<double>(step));
  const float b1 = static_cast<float>(o.beta1), b2 = static_cast<float>(o.beta2),
              c1 = static_cast<float>(1 - o.beta1), c2 = static_cast<float>(1 - o.beta2),
              by = static_cast<float>(rate / first_part), eps = static_cast<float>(o.eps),
              root = static_cast<float>(1 / std::sqrt(second_part)), scale = static_cast<float>(factor);
  ctx.pool.for_each(static_cast<int64_t>(shares.size()), 1, [&](int64_t i, int64_t, int) {
    const Share& share = shares[static_cast<size_t>(i)];
    const TrainedTensor& t = tensors[share.tensor];
    const float keep = t.decays ? static_cast<float>(1 - rate * o.decay) : 1.0f;
    float* __restrict w = t.weight, * __restrict m = t.first, * __restrict v = t.second;
    const float* __restrict g = t.gradient;
    for (int64_t j = share.begin; j < share.end; ++j) {
      const float gradient = g[j] * scale;
      m[j] = b1 * m[j] + c1 * gradient;
      v[j] = b2 * v[j] + c2 * gradient * gradient;
      w[j] = keep * w[j] - by * m[j] / (std::sqrt(v[j]) * root + eps);
    }
  });
}

}  // namespace minke
