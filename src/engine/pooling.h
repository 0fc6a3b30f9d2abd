#pragma once
// One vector for a text: its tokens' final hidden states, pooled.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace minke {

enum class Pooling : uint8_t { mean, last };

// Takes hidden states [dim] by position, in order; one that it has had (fed again after its cache was given
// up) counts once. The sum is in f64 and in this order: the same however the prompt was cut.
class Pooled {
 public:
  explicit Pooled(Pooling how = Pooling::mean) : how_(how) {}

  int seen() const { return seen_; }  // positions
  void add(int position, const float* hidden, int dim) {
    if (position < seen_) return;
    sum_.resize(static_cast<size_t>(dim));
    for (size_t i = 0; i < sum_.size(); ++i) {
      const double value = hidden[i];
      sum_[i] = how_ == Pooling::mean ? sum_[i] + value : value;
    }
    seen_ = position + 1;
    ++added_;
  }
  std::vector<float> vector() const {
    std::vector<float> pooled;
    pooled.reserve(sum_.size());
    for (const double value : sum_)
      pooled.push_back(static_cast<float>(how_ == Pooling::mean ? value / added_ : value));
    return pooled;
  }

 private:
  Pooling how_;
  int seen_ = 0, added_ = 0;
  std::vector<double> sum_;
};

}  // namespace minke
