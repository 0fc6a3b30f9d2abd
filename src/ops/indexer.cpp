#include "ops/indexer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace minke {

namespace {

// Keys are in the order of the scores; 0 and -0 are the same.
uint32_t sort_key(float score) {
  if (std::isnan(score)) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(score == 0.0f ? 0.0f : score);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// One row of a batch: where it is, and what it sees.
struct Query {
  const Run* run;
  int64_t row;
  int visible;
};

Query query_at(std::span<const Run> runs, int64_t r) {
  const Run* run = runs.data();
  for (; r >= run->count; ++run) r -= run->count;
  return {run, run->row + r, run->position + static_cast<int>(r) + 1};
}

// What a thread has room for: the kernel's memory, the scores of one row, and what the choice takes.
struct Scratch {
  std::byte* kernel;
  float* scores;  // [context]
  LargestSpace largest;
};

Scratch scratch_at(std::byte* memory, int width, int context) {
  auto* scores = reinterpret_cast<float*>(memory + attend_scratch_bytes(width));
  auto* buckets = reinterpret_cast<int32_t*>(scores + context);
  return {memory, scores, {buckets, buckets + kScoreBuckets}};
}

struct Pass {
  const Context& ctx;
  const KvPool& pool;
  int layer;
  const IndexerBatch& b;
  int32_t *chosen, *counts;

  bool scored(const Query& query) const { return query.visible > b.most || b.always; }

  // Scores of keys [first, last) for one row; first is a multiple of 16.
  void score(const Query& query, int first, int last, float* scores, std::byte* kernel) const {
    KeyRows keys = key_rows(pool, layer, b.keys, b.width);
    keys.pages = query.run->kv->pages.data();
    std::fill(scores + first, scores + last, 0.0f);
    for (int h = 0; h < b.heads; h += kMaxQueries)  // heads in ascending order, whatever their number
      ctx.kernels.index_scores(b.q + (query.row * b.heads + h) * b.width, b.w + query.row * b.heads + h,
                               std::min(kMaxQueries, b.heads - h), keys, first, last, scores + first, kernel);
  }

  void choose(const Query& query, const Scratch& s) const {
    if (b.scores) std::copy_n(s.scores, query.visible, b.scores + query.row * b.scores_stride);
    counts[query.row] = query.visible > b.most ? b.most : -1;
    if (query.visible > b.most)
      largest_positions(s.scores, query.visible, b.most, s.largest, chosen + query.row * b.most);
  }
};

constexpr int kFewScores = 8192;  // for whom emptying all buckets would be most of the work
constexpr int kScoreSpan = 4096;  // keys a thread takes at a time where rows are few

}  // namespace

void largest_positions(const float* scores, int n, int most, const LargestSpace& space, int32_t* positions) {
  // Counted by the upper bits of their keys, fewer where there are few to count; only those of the bucket
  // that the last one comes from are compared.
  const int bits = n < kFewScores ? 11 : 16, shift = 32 - bits;
  static_assert(kScoreBuckets == 1 << 16);
  std::fill_n(space.buckets, 1 << bits, 0);
  for (int i = 0; i < n; ++i) ++space.buckets[sort_key(scores[i]) >> shift];
  uint32_t last = (1u << bits) - 1;
  int above = 0;
  while (above + space.buckets[last] < most) above += space.buckets[last--];
  int sure = 0, open = 0;
  for (int i = 0; i < n; ++i) {
    const uint32_t bucket = sort_key(scores[i]) >> shift;
    if (bucket > last)
      positions[sure++] = i;
    else if (bucket == last)
      space.candidates[open++] = i;
  }
  int left = most - sure;
  int32_t* const candidates = space.candidates;
  std::nth_element(candidates, candidates + left, candidates + open, [&](int32_t a, int32_t b) {
    const uint32_t x = sort_key(scores[a]), y = sort_key(scores[b]);
    return x != y ? x > y : a < b;
  });
  std::sort(candidates, candidates + left);
  for (int to = most; left > 0;) {
    const bool later = sure > 0 && positions[sure - 1] > candidates[left - 1];
    positions[--to] = later ? positions[--sure] : candidates[--left];
  }
}

void choose_positions(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                      const IndexerBatch& b, std::span<const Run> runs, int32_t* chosen, int32_t* counts) {
  int64_t rows = 0;
  for (const Run& run : runs) rows += run.count;
  const Pass pass{ctx, pool, layer, b, chosen, counts};
  const auto scratch = [&](int thread) { return scratch_at(work.scratch_of(thread), b.width, b.context); };

  if (rows >= 2 * ctx.pool.size()) {
    ctx.pool.for_each(rows, 1, [&](int64_t i, int64_t, int thread) {
      const Query query = query_at(runs, i);
      const Scratch s = scratch(thread);
      if (pass.scored(query)) pass.score(query, 0, query.visible, s.scores, s.kernel);
      pass.choose(query, s);
    });
    return;
  }
  // Few rows: their keys are shared out. Each row's scores lie in the memory of one thread.
  for (int64_t begin = 0; begin < rows; begin += ctx.pool.size()) {
    const int here = static_cast<int>(std::min<int64_t>(ctx.pool.size(), rows - begin));
    const int spans = (b.context + kScoreSpan - 1) / kScoreSpan;
    ctx.pool.for_each(int64_t{here} * spans, 1, [&](int64_t i, int64_t, int thread) {
      const int slot = static_cast<int>(i / spans), first = static_cast<int>(i % spans) * kScoreSpan;
      const Query query = query_at(runs, begin + slot);
      if (first < query.visible && pass.scored(query))
        pass.score(query, first, std::min(query.visible, first + kScoreSpan), scratch(slot).scores,
                   scratch(thread).kernel);
    });
    ctx.pool.for_each(here, 1, [&](int64_t slot, int64_t, int) {
      pass.choose(query_at(runs, begin + slot), scratch(static_cast<int>(slot)));
    });
  }
}

int64_t indexer_scratch_bytes(int width, int context) {
  return attend_scratch_bytes(width) +
         (int64_t{2} * context + kScoreBuckets) * static_cast<int64_t>(sizeof(int32_t));
}

}  // namespace minke
