#pragma once
// Attention of a batch over the paged cache.

#include <span>

#include "kv/pool.h"
#include "ops/context.h"
#include "ops/workspace.h"

namespace minke {

// Consecutive tokens of one sequence inside a batch: rows [row, row + count), at positions [position,
// position + count). Their own cache rows have been written.
struct Run {
  int row, count, position;
  const KvView* kv;
};

// Heads that share keys: head h reads kv head h / (heads / kv_heads). GQA: kv_heads >= 1; absorbed MLA:
// kv_heads 1.
struct AttentionShape {
  int heads, kv_heads;
  int query_width;      // numbers of a query and of a key head
  int value_width;      // may be less than what a head of `values` has: its first numbers
  KvPart keys, values;  // of all kv heads, inside a cache row; of one format
  int chunk = 0;        // > 0: a token sees only keys s with s / chunk == position / chunk (Llama 4)
};

// The first `width` numbers of head 0 of a part of a layer's rows; pages are the caller's.
KeyRows key_rows(const KvPool& pool, int layer, const KvPart& part, int width);

// out[r][h] = sum over visible s of softmax_s(q[r][h] . k_s) v_s. q [rows][heads][query_width], scaled by the
// caller; out [rows][heads][value_width]. A token sees the keys up to its own.
void attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
               const AttentionShape& shape, std::span<const Run> runs, const float* q, float* out);

// The same where row r sees the `counts[r]` positions chosen[r * most ...], ascending; counts[r] < 0: all up
// to its own.
struct Selection {
  const int32_t* chosen;  // [rows][most]
  const int32_t* counts;  // [rows]
  int most;
};
void sparse_attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                      const AttentionShape& shape, std::span<const Run> runs, const Selection& selection,
                      const float* q, float* out);

// Units of Workspace::partials with which a token each of `sequences`, of `context` tokens together, keeps
// all threads busy.
int64_t attention_partials(int heads, int kv_heads, int64_t context, int sequences, int threads);

// Scratch a thread needs; gathered: rows it may gather (sparse attention), of row_bytes each.
int64_t attention_scratch_bytes(int query_width, int value_width, int gathered, int64_t row_bytes);

}  // namespace minke
