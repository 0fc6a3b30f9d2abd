#include "ops/indexer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minke {

void largest_positions(const float* scores, int n, int most, int32_t* scratch, int32_t* positions) {
  for (int i = 0; i < n; ++i) scratch[i] = i;
  const auto before = [&](int32_t a, int32_t b) {  // a total order whatever the numbers: NaN comes last
    const float x = scores[a], y = scores[b];
    if (x > y || y > x) return x > y;
    return std::isnan(x) != std::isnan(y) ? std::isnan(y) : a < b;
  };
  std::nth_element(scratch, scratch + most, scratch + n, before);
  std::copy_n(scratch, most, positions);
  std::sort(positions, positions + most);
}

void choose_positions(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                      const IndexerBatch& b, std::span<const Run> runs, int32_t* chosen, int32_t* counts) {
  int64_t rows = 0;
  for (const Run& run : runs) rows += run.count;
  ctx.pool.for_each(rows, 1, [&](int64_t i, int64_t, int thread) {
    int64_t r = i;
    const Run* run = runs.data();
    for (; r >= run->count; ++run) r -= run->count;
    const int64_t row = run->row + r;
    const int visible = run->position + static_cast<int>(r) + 1;
    counts[row] = visible > b.most ? b.most : -1;
    if (counts[row] < 0 && !b.always) return;

    std::byte* scratch = work.scratch_of(thread);
    auto* scores = reinterpret_cast<float*>(scratch + attend_scratch_bytes(b.width));
    KeyRows keys = key_rows(pool, layer, b.keys, b.width);
    keys.pages = run->kv->pages.data();
    std::fill_n(scores, visible, 0.0f);
    for (int h = 0; h < b.heads; h += kMaxQueries) {  // heads in ascending order, whatever their number
      ctx.kernels.index_scores(b.q + (row * b.heads + h) * b.width, b.w + row * b.heads + h,
                               std::min(kMaxQueries, b.heads - h), keys, 0, visible, scores, scratch);
    }
    if (b.scores) std::copy_n(scores, visible, b.scores + row * b.scores_stride);
    if (counts[row] < 0) return;
    auto* indices = reinterpret_cast<int32_t*>(scores + visible);
    largest_positions(scores, visible, b.most, indices, chosen + row * b.most);
  });
}

int64_t indexer_scratch_bytes(int width, int context) {
  return attend_scratch_bytes(width) +
         int64_t{context} * static_cast<int64_t>(sizeof(float) + sizeof(int32_t));
}

}  // namespace minke
