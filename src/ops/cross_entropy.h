#pragma once
// The language-modelling loss, with the head: logits are made, judged and sent back a piece of the rows at a
// time, and never all there.

#include <span>

#include "ops/projection.h"

namespace minke {

constexpr int kLossRows = 512;  // whose logits are there at once

struct HeadLoss {
  Precision precision;
  const Mat& head;                   // [vocab][D]
  std::span<const int32_t> targets;  // [rows], below 0: the row does not count
  float scale;                       // of the gradients: one over what the loss is a mean of
};

// Sum over counted rows of -ln softmax(head x[r])[target]. Adds scale times its gradients to dx [rows][D] and
// to dhead; without data they are not computed. logits [kLossRows][vocab] is memory.
double head_loss(const Context& ctx, const HeadLoss& loss, const Rows& x, float* logits, float* dx,
                 float* dhead);

// Sum over counted rows of KL(softmax(head reference[r]) || softmax(head x[r])), and its gradients as above;
// those by the reference are not computed. reference_logits [kLossRows][vocab] is memory as well.
double head_divergence(const Context& ctx, const HeadLoss& loss, const Rows& x, const Rows& reference,
                       float* logits, float* reference_logits, float* dx, float* dhead);

// Of one row of logits [vocab]: returns -ln softmax(logits)[target]; logits become their gradient times
// scale.
double cross_entropy(const Kernels& kernels, float* logits, int vocab, int32_t target, float scale);

// Of one row [vocab] each: returns KL(softmax(reference) || softmax(logits)); logits become its gradient
// times scale, reference its probabilities.
double divergence(const Kernels& kernels, float* logits, float* reference, int vocab, float scale);

}  // namespace minke
