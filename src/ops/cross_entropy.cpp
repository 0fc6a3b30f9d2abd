#include "ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace minke {

double cross_entropy(const Kernels& kernels, float* logits, int vocab, int32_t target, float scale) {
  const float* top = std::max_element(logits, logits + vocab);
  const float peak = *top, chosen = logits[target];
  kernels.softmax(logits, vocab);
  const double loss = double{peak} - chosen - std::log(double{*top});  // *top is now 1 / sum of e^(x - peak)
  kernels.scale(logits, scale, vocab);
  logits[target] -= scale;
  return loss;
}

double head_loss(const Context& ctx, const HeadLoss& loss, const Rows& x, float* logits, float* dx,
                 float* dhead) {
  const int vocab = loss.head.rows;
  std::vector<double> losses(static_cast<size_t>(x.count), 0.0);
  for (int first = 0; first < x.count; first += kLossRows) {
    const int count = std::min(kLossRows, x.count - first);
    const auto targets = loss.targets.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    if (std::ranges::all_of(targets, [](int32_t t) { return t < 0; })) continue;
    const Rows piece{x.data + first * x.stride, x.stride, count, x.cols};
    project(ctx, loss.precision, piece, loss.head, logits, vocab);
    ctx.pool.for_each(count, 1, [&](int64_t r, int64_t, int) {
      float* row = logits + r * vocab;
      const int32_t target = targets[static_cast<size_t>(r)];
      if (target < 0)
        std::fill_n(row, vocab, 0.0f);
      else
        losses[static_cast<size_t>(first + r)] = cross_entropy(ctx.kernels, row, vocab, target, loss.scale);
    });
    project_backward(ctx, loss.precision, piece, loss.head, {logits, vocab, count, vocab},
                     {dx ? dx + int64_t{first} * x.cols : nullptr, x.cols}, true, dhead);
  }
  double total = 0;
  for (const double l : losses) total += l;
  return total;
}

}  // namespace minke
