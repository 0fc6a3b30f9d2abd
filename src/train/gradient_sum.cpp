#include "train/gradient_sum.h"

#include <algorithm>

#include "train/pass.h"

namespace minke {

std::vector<GradientBucket> gradient_buckets(const Config& config, const ChosenWeights& chosen) {
  std::vector<GradientBucket> buckets;
  int64_t at = 0;
  for_each_weight(config, [&](const WeightSlot& slot) {
    if (chosen && !chosen(slot)) return;
    const int unit = slot.layer >= 0            ? slot.layer
                     : slot.role == Role::embed ? embedding_unit(config)
                                                : head_unit(config);
    const bool experts = slot.expert >= 0;
    if (buckets.empty() || buckets.back().unit != unit || buckets.back().experts != experts)
      buckets.push_back({unit, experts, at, at});
    at += padded_count(slot);
    buckets.back().end = at;
  });
  return buckets;
}

GradientSum::GradientSum(const RankGroups& groups, std::vector<GradientBucket> buckets,
                         std::span<float> gradients)
    : groups_(groups), buckets_(std::move(buckets)), gradients_(gradients) {}

void GradientSum::ready(int unit) {
  for (Pending& p : pending_) p.advance();
  for (const GradientBucket& b : buckets_)
    if (b.unit == unit)
      pending_.push_back(groups_.place.divides_moments() ? start_reduce_scatter(comm(b), numbers(b))
                                                         : start_sum(comm(b), numbers(b)));
}

void GradientSum::finish() {
  for (Pending& p : pending_) p.finish();
  pending_.clear();
}

std::vector<TrainedTensor> GradientSum::own(std::span<const TrainedTensor> tensors) const {
  std::vector<TrainedTensor> parts;
  for (const TrainedTensor& t : tensors) {
    const int64_t begin = t.gradient - gradients_.data();
    const auto bucket =
        std::ranges::find_if(buckets_, [&](const GradientBucket& b) { return begin < b.end; });
    const Comm& ranks = comm(*bucket);
    const RingShare share = ring_share(bucket->count(), ranks.size, ranks.rank);
    const int64_t from = std::max(begin, bucket->begin + share.begin) - begin,
                  to = std::min(begin + t.count(), bucket->begin + share.end) - begin;
    if (from >= to) continue;
    TrainedTensor part = t;
    part.size = {1, static_cast<int>(to - from)};
    part.offset = from;
    for (float** numbers : {&part.weight, &part.gradient, &part.first, &part.second})
      if (*numbers) *numbers += from;
    parts.push_back(part);
  }
  return parts;
}

void GradientSum::share_own() {
  for (const GradientBucket& b : buckets_) pending_.push_back(start_all_gather(comm(b), numbers(b)));
  finish();
}

double gradient_traffic(const std::vector<GradientBucket>& buckets, const RankPlace& place) {
  double bytes = 0;
  for (const GradientBucket& b : buckets)
    bytes += sum_traffic(4.0 * static_cast<double>(b.count()), b.experts ? place.replicas() : place.ranks);
  return bytes;
}

}  // namespace minke
