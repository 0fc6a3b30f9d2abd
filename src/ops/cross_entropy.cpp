#include "ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace minke {
namespace {

Rows piece_of(const Rows& x, int first, int count) {
  return {x.data + int64_t{first} * x.stride, x.stride, count, x.cols};
}

// The sum of judge(first, r) over counted rows: r of the piece that begins at row first, whose logits are
// there and become their gradient. make(first, count) makes what else must be there for a piece.
template <typename Make, typename Judge>
double over_pieces(const Context& ctx, const HeadLoss& loss, const Rows& x, float* logits, float* dx,
                   float* dhead, const Make& make, const Judge& judge) {
  const int vocab = loss.head.rows;
  std::vector<double> losses(static_cast<size_t>(x.count), 0.0);
  for (int first = 0; first < x.count; first += kLossRows) {
    const int count = std::min(kLossRows, x.count - first);
    const auto targets = loss.targets.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    if (std::ranges::all_of(targets, [](int32_t t) { return t < 0; })) continue;
    const Rows piece = piece_of(x, first, count);
    project(ctx, loss.precision, piece, loss.head, logits, vocab);
    make(first, count);
    ctx.pool.for_each(count, 1, [&](int64_t r, int64_t, int) {
      if (const int32_t target = targets[static_cast<size_t>(r)]; target < 0)
        std::fill_n(logits + r * vocab, vocab, 0.0f);
      else
        losses[static_cast<size_t>(first + r)] = judge(r, target);
    });
    project_backward(ctx, loss.precision, piece, loss.head, {logits, vocab, count, vocab},
                     {dx ? dx + int64_t{first} * x.cols : nullptr, x.cols}, true, dhead);
  }
  double total = 0;
  for (const double l : losses) total += l;
  return total;
}

}  // namespace

double cross_entropy(const Kernels& kernels, float* logits, int vocab, int32_t target, float scale) {
  const float* top = std::max_element(logits, logits + vocab);
  const float peak = *top, chosen = logits[target];
  kernels.softmax(logits, vocab);
  const double loss = double{peak} - chosen - std::log(double{*top});  // *top is now 1 / sum of e^(x - peak)
  kernels.scale(logits, scale, vocab);
  logits[target] -= scale;
  return loss;
}

// With P and Q of logits p and q, the sum of P (ln P - ln Q) is that of P (p - q) plus ln Z_q - ln Z_p.
double divergence(const Kernels& kernels, float* logits, float* reference, int vocab, float scale) {
  const auto top = [vocab](const float* x) { return std::max_element(x, x + vocab) - x; };
  const int64_t top_logit = top(logits), top_reference = top(reference);
  const double peak = logits[top_logit], reference_peak = reference[top_reference];
  double loss = 0, all = 0;
  for (int v = 0; v < vocab; ++v) {
    const double e = std::exp(static_cast<float>(reference[v] - reference_peak));
    all += e;
    loss += e * (double{reference[v]} - logits[v]);
  }
  kernels.softmax(logits, vocab);
  kernels.softmax(reference, vocab);
  loss = loss / all + (peak - std::log(double{logits[top_logit]})) -
         (reference_peak - std::log(double{reference[top_reference]}));
  for (int v = 0; v < vocab; ++v) logits[v] = scale * (logits[v] - reference[v]);
  return loss;
}

double head_loss(const Context& ctx, const HeadLoss& loss, const Rows& x, float* logits, float* dx,
                 float* dhead) {
  const int vocab = loss.head.rows;
  return over_pieces(
      ctx, loss, x, logits, dx, dhead, [](int, int) {},
      [&](int64_t r, int32_t target) {
        return cross_entropy(ctx.kernels, logits + r * vocab, vocab, target, loss.scale);
      });
}

double head_divergence(const Context& ctx, const HeadLoss& loss, const Rows& x, const Rows& reference,
                       float* logits, float* reference_logits, float* dx, float* dhead) {
  const int vocab = loss.head.rows;
  return over_pieces(
      ctx, loss, x, logits, dx, dhead,
      [&](int first, int count) {
        project(ctx, loss.precision, piece_of(reference, first, count), loss.head, reference_logits, vocab);
      },
      [&](int64_t r, int32_t) {
        return divergence(ctx.kernels, logits + r * vocab, reference_logits + r * vocab, vocab, loss.scale);
      });
}

}  // namespace minke
