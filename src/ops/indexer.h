#pragma once
// DeepSeek's lightning indexer: which earlier tokens a token attends to (MODEL.md 2.6).

#include <span>

#include "kv/pool.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/workspace.h"

namespace minke {

// Memory of largest_positions.
constexpr int kScoreBuckets = 1 << 16;
struct LargestSpace {
  int32_t* buckets;     // [kScoreBuckets]
  int32_t* candidates;  // [n]
};

// Positions of the `most` largest of scores[0 .. n), ascending; equal scores go to the lower position, NaN is
// less than every number. n > most.
void largest_positions(const float* scores, int n, int most, const LargestSpace& space, int32_t* positions);

struct IndexerBatch {
  int heads, width, most;  // index heads, their numbers, positions kept
  KvPart keys;             // inside a cache row
  const float* q;          // [rows][heads][width]
  const float* w;          // [rows][heads], scaled
  int context;             // no row sees more positions
  bool always = false;     // score also rows that see no more than `most` (for inspection)
  float* scores =
      nullptr;  // with always: [rows][scores_stride], row r's scores of positions 0 .. position, or null
  int64_t scores_stride = 0;
};

// For each row: counts[row] = -1 where the token sees no more than `most` positions (all are kept), else
// `most`, with the kept ones at chosen + row * most, ascending.
void choose_positions(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                      const IndexerBatch& batch, std::span<const Run> runs, int32_t* chosen, int32_t* counts);

int64_t indexer_scratch_bytes(int width, int context);

}  // namespace minke
