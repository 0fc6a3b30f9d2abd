#pragma once
// Attention of a few query rows over cached keys and values, and the indexer's scores: what the kernels take.

#include <cstddef>
#include <cstdint>

#include "quant/kv_format.h"

namespace minke {

constexpr int kSpan = 512;       // keys one call takes at most; longer contexts are merged span by span
constexpr int kMaxQueries = 64;  // query rows one call takes at most
constexpr int kKeyChunk = 256;   // keys between two rescalings
// Panels that are made before queries meet them: one where queries fill register tiles, else some, for a
// narrow tile alone would wait for its own sums.
constexpr int kBeside = 4;

// Cached rows of one layer: key s is row s % 64 of page pages[s / 64], or of page s / 64 where pages is null.
// Every page holds 64 rows of finite numbers, whether in use or not.
struct KeyRows {
  const std::byte* base = nullptr;  // of page 0
  const int32_t* pages = nullptr;
  int64_t row_bytes = 0;
  int64_t offset = 0;  // of the numbers inside a row
  KvFormat format = KvFormat::f32;
  int width = 0;       // numbers
  int64_t scales = 0;  // inside a row, where the format has any
};

// Rows q[i] (i < queries, at most kMaxQueries) over keys [first, last) of one span: last - first <= kSpan,
// first a multiple of 256. Keys and values have one format. Row i sees keys s with from[i] <= s < to[i].
// Results are not yet divided: out[i] = sum of exp(score - peak[i]) * value, mass[i] the sum of the exps,
// peak[i] the largest score; a row that sees no key of the span has peak -inf, mass 0, out 0. Sums run in
// blocks of 256 keys from key 0: a row's result does not depend on the rows around it.
struct AttendSpan {
  const float* const* q;  // [queries] rows of keys.width numbers, already scaled
  int queries;
  const int* from;  // [queries]
  const int* to;    // [queries]
  KeyRows keys, values;
  int first, last;
  float* out;   // [queries][values.width], contiguous
  float* peak;  // [queries]
  float* mass;  // [queries]
};

// Words of four bytes that a query of at most `width` numbers takes.
constexpr int query_space(int width) { return (width + 8) / 4 * 4; }

// 64-byte aligned memory one thread needs for attend and index_scores; width: the widest key or value row.
constexpr int64_t attend_scratch_bytes(int width) {
  const int64_t weights = int64_t{kMaxQueries} * kKeyChunk * 6 + kKeyChunk * 4,
                queries = int64_t{kMaxQueries} * query_space(width) * 4,
                panels = kBeside * int64_t{width + 4 + kKeyChunk} * 16 * 4;
  return weights + queries + panels + 4096;
}

}  // namespace minke
