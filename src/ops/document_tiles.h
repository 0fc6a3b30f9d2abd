#pragma once
// How attention and indexer of training cut documents: into tiles of queries, each of which meets all the
// keys that its last row sees.

#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/document_attention.h"

namespace minke {

constexpr int kQueryTile = 48;

inline void tile_product(const Context& ctx, const TileProduct& product) {
  ctx.kernels.training.tile_product(product);
}

struct QueryTile {
  int first, count;  // positions in the document
  int visible() const { return first + count; }
};

// Tile i of a document; count <= 0 behind the last.
inline QueryTile query_tile(int tokens, int i) {
  const int first = i * kQueryTile;
  return {first, std::min(kQueryTile, tokens - first)};
}

template <typename F>
void for_each_query_tile(int tokens, const F& f) {
  for (int i = 0; i * kQueryTile < tokens; ++i) f(query_tile(tokens, i));
}

// Tokens of the longest; 0 of none.
inline int longest(std::span<const Document> documents) {
  int most = 0;
  for (const Document& d : documents) most = std::max(most, d.count);
  return most;
}

// f(document, tile, thread) for every tile of every document: what threads share out.
template <typename F>
void for_each_tile_of_all(const Context& ctx, std::span<const Document> documents, const F& f) {
  const int64_t tiles = (longest(documents) + kQueryTile - 1) / kQueryTile;
  ctx.pool.for_each(static_cast<int64_t>(documents.size()) * tiles, 1, [&](int64_t i, int64_t, int thread) {
    const Document& document = documents[static_cast<size_t>(i / tiles)];
    const QueryTile tile = query_tile(document.count, static_cast<int>(i % tiles));
    if (tile.count > 0) f(document, tile, thread);
  });
}

// Numbers from row to row of a tile: whole cache lines, and no two rows in the same place of a cache.
inline int64_t tile_stride(int tokens) { return (int64_t{tokens} + 15) / 16 * 16 + 16; }

// out[c * out_stride + r] = x[r * stride + c].
inline void transpose_rows(const float* x, int64_t stride, int rows, int cols, float* out,
                           int64_t out_stride) {
  constexpr int kBlock = 16;
  for (int r = 0; r < rows; r += kBlock)
    for (int c = 0; c < cols; ++c)
      for (int i = r; i < std::min(r + kBlock, rows); ++i) out[c * out_stride + i] = x[i * stride + c];
}

}  // namespace minke
