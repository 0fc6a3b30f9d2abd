#pragma once
// Gradients added up over ranks while the way back goes on: each layer's begin their way as soon as they are
// complete.

#include <vector>

#include "comm/collectives.h"
#include "train/optimizer.h"
#include "train/parallel.h"

namespace minke {

// Gradients that lie one after the other and become complete together.
struct GradientBucket {
  int unit;            // of those that a pass reports (train/pass.h)
  bool experts;        // added up over the ranks with the same experts only
  int64_t begin, end;  // in the set of all gradients
  int64_t count() const { return end - begin; }
};

std::vector<GradientBucket> gradient_buckets(const Config& config, const ChosenWeights& chosen);

class GradientSum {
 public:
  // Of `gradients`, which stay where they are. groups outlives it.
  GradientSum(const RankGroups& groups, std::vector<GradientBucket> buckets, std::span<float> gradients);

  void ready(int unit);  // starts what became complete, and moves on what is under way
  void finish();         // all have arrived

  // The parts of tensors that this rank answers for: every number is some rank's. Where moments are divided
  // they are the ones it steps.
  std::vector<TrainedTensor> own(std::span<const TrainedTensor> tensors) const;
  // From each rank its part: to be called after it was written over the gradients.
  void share_own();

 private:
  const Comm& comm(const GradientBucket& b) const { return b.experts ? groups_.replicas : groups_.all; }
  std::span<float> numbers(const GradientBucket& b) const {
    return gradients_.subspan(static_cast<size_t>(b.begin), static_cast<size_t>(b.count()));
  }

  const RankGroups& groups_;
  const std::vector<GradientBucket> buckets_;
  const std::span<float> gradients_;
  std::vector<Pending> pending_;
};

// Bytes that a rank sends in a step for gradients, and with zero for weights, on average.
double gradient_traffic(const std::vector<GradientBucket>& buckets, const RankPlace& place);

}  // namespace minke
