#include "model/interleave.h"

#include <algorithm>

#include "quant/interleave.h"

namespace minke {
namespace {

struct Candidate {
  Mat mat;
  bool wanted;
};

bool fills_groups(const Config& c, const WeightSlot& slot) {
  if (slot.role == Role::k_b) return c.mla->kv_lora % kInterleavedRows == 0;
  if (slot.role == Role::v_b) return c.mla->v % kInterleavedRows == 0;
  return true;
}

bool same(const Mat& a, const Mat& b) {
  return a.data == b.data && a.format == b.format && a.rows == b.rows && a.cols == b.cols;
}

}  // namespace

std::vector<Mat> interleavable(const Config& config, Weights& weights) {
  std::vector<Candidate> all;
  for_each_weight(config, weights, [&](const WeightSlot& slot, Mat& m) {
    const bool product = slot.role != Role::embed || config.tied;
    if (m.bytes() > 0)
      all.push_back({m, !slot.vector && product && can_interleave(m) && fills_groups(config, slot)});
  });
  std::ranges::sort(all, {}, [](const Candidate& c) { return c.mat.data; });
  std::vector<Mat> found;
  for (size_t i = 0; i < all.size();) {
    bool alike = true;
    const std::byte* end = all[i].mat.data + all[i].mat.bytes();
    size_t next = i;
    for (; next < all.size() && all[next].mat.data < end; ++next) {
      alike = alike && all[next].wanted && same(all[i].mat, all[next].mat);
      end = std::max(end, all[next].mat.data + all[next].mat.bytes());
    }
    if (alike) found.push_back(all[i].mat);
    i = next;
  }
  return found;
}

void interleave(ThreadPool& pool, const Mat& m, std::byte* bytes) {
  constexpr int64_t kGroups = 8;
  const int64_t group = kInterleavedRows * m.row_bytes;
  pool.for_each(m.rows / kInterleavedRows, kGroups, [&](int64_t begin, int64_t end, int) {
    std::vector<std::byte> scratch(static_cast<size_t>(group));
    for (int64_t g = begin; g < end; ++g) interleave_group(m, bytes + g * group, scratch.data());
  });
}

void mark_interleaved(const Config& config, Weights& weights, const std::vector<Mat>& done) {
  for_each_weight(config, weights, [&](const WeightSlot&, Mat& m) {
    const auto found = std::ranges::lower_bound(done, m.data, {}, &Mat::data);
    if (found != done.end() && same(*found, m)) m.interleaved = true;
  });
}

}  // namespace minke
