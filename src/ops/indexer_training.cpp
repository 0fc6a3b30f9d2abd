#include "ops/indexer_training.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "ops/document_tiles.h"
#include "ops/indexer.h"

namespace minke {
namespace {

// f(row, position) for every row of every document.
template <typename F>
void for_each_row(const Context& ctx, std::span<const Document> documents, const F& f) {
  for_each_tile_of_all(ctx, documents, [&](const Document& d, const QueryTile& tile, int thread) {
    for (int i = 0; i < tile.count; ++i) f(int64_t{d.first} + tile.first + i, tile.first + i, thread);
  });
}

// One thread's memory.
struct Scratch {
  float* keys;  // [width][S] transposed
  float* dots;  // [kQueryTile][S]
};

Scratch scratch_at(std::byte* memory, int width, int64_t stride) {
  auto* keys = reinterpret_cast<float*>(memory);
  return {keys, keys + width * stride};
}

}  // namespace

void index_scores(const Context& ctx, const Workspace& work, const IndexerRows& rows, float* scores,
                  int64_t stride) {
  const int64_t inner = tile_stride(longest(rows.documents)), q_row = int64_t{rows.heads} * rows.width;
  MINKE_CHECK(indexer_training_scratch(rows.width, longest(rows.documents)) <= work.scratch_bytes);
  for_each_tile_of_all(ctx, rows.documents, [&](const Document& d, const QueryTile& tile, int thread) {
    const Scratch s = scratch_at(work.scratch_of(thread), rows.width, inner);
    const int64_t first = d.first + tile.first;
    const int visible = tile.visible();
    transpose_rows(rows.k + int64_t{d.first} * rows.width, rows.width, visible, rows.width, s.keys, inner);
    for (int i = 0; i < tile.count; ++i) std::fill_n(scores + (first + i) * stride, visible, 0.0f);
    for (int h = 0; h < rows.heads; ++h) {
      tile_product(ctx, {tile.count, visible, rows.width, rows.q + first * q_row + h * rows.width, q_row, 1,
                         s.keys, inner, s.dots, inner});
      for (int i = 0; i < tile.count; ++i)
        ctx.kernels.training.relu_add(scores + (first + i) * stride, s.dots + i * inner,
                                      rows.w[(first + i) * rows.heads + h], visible);
    }
  });
}

void choose_positions(const Context& ctx, const Workspace& work, std::span<const Document> documents,
                      const float* scores, int64_t stride, int most, int32_t* chosen, int32_t* counts) {
  for_each_row(ctx, documents, [&](int64_t r, int position, int thread) {
    const int visible = position + 1;
    counts[r] = visible > most ? most : -1;
    if (visible <= most) return;
    auto* memory = reinterpret_cast<int32_t*>(work.scratch_of(thread));
    largest_positions(scores + r * stride, visible, most, {memory, memory + kScoreBuckets},
                      chosen + r * most);
  });
}

double indexer_loss(const Context& ctx, std::span<const Document> documents, const Selection* selection,
                    const float* mass, float* scores, int64_t stride, float scale) {
  int64_t rows = 0;
  for (const Document& d : documents) rows = std::max<int64_t>(rows, d.first + d.count);
  std::vector<double> losses(static_cast<size_t>(rows), 0.0);
  for_each_row(ctx, documents, [&](int64_t r, int position, int) {
    const bool chosen = selection && selection->counts[r] >= 0;
    const int32_t* at = chosen ? selection->chosen + r * selection->most : nullptr;
    const int n = chosen ? selection->counts[r] : position + 1;
    float* score = scores + r * stride;
    const float* target = mass + r * stride;
    std::vector<double> gradients(static_cast<size_t>(n));
    const auto place = [&](int j) { return chosen ? at[j] : j; };
    double peak = -std::numeric_limits<double>::infinity(), total = 0, all = 0, loss = 0;
    for (int j = 0; j < n; ++j) {
      peak = std::max(peak, double{score[place(j)]});
      all += target[place(j)];
    }
    for (int j = 0; j < n; ++j) total += gradients[static_cast<size_t>(j)] = std::exp(score[place(j)] - peak);
    const double log_total = peak + std::log(total);
    for (int j = 0; j < n; ++j) {
      const double p = target[place(j)] / all;
      if (p > 0) loss += p * (std::log(p) - (score[place(j)] - log_total));
      double& gradient = gradients[static_cast<size_t>(j)];
      gradient = gradient / total - p;
    }
    std::fill_n(score, position + 1, 0.0f);
    for (int j = 0; j < n; ++j)
      score[place(j)] = static_cast<float>(scale * gradients[static_cast<size_t>(j)]);
    losses[static_cast<size_t>(r)] = loss;
  });
  double sum = 0;
  for (const double l : losses) sum += l;
  return sum;
}

// Twice over the dot products: by queries for dq and dw, by keys for dk, so that no two threads add to one
// place.
void index_scores_backward(const Context& ctx, const Workspace& work, const IndexerRows& rows,
                           const float* dscores, int64_t stride, float* dq, float* dk, float* dw) {
  const int width = rows.width;
  const int64_t inner = tile_stride(longest(rows.documents)), q_row = int64_t{rows.heads} * width;
  for_each_tile_of_all(ctx, rows.documents, [&](const Document& d, const QueryTile& tile, int thread) {
    const Scratch s = scratch_at(work.scratch_of(thread), width, inner);
    const int64_t first = d.first + tile.first;
    const int visible = tile.visible();
    const float* keys = rows.k + int64_t{d.first} * width;
    transpose_rows(keys, width, visible, width, s.keys, inner);
    for (int h = 0; h < rows.heads; ++h) {
      const int64_t query = first * q_row + h * width;
      tile_product(ctx, {tile.count, visible, width, rows.q + query, q_row, 1, s.keys, inner, s.dots, inner});
      for (int i = 0; i < tile.count; ++i) {
        const float* given = dscores + (first + i) * stride;
        float* dot = s.dots + i * inner;
        const float weight = rows.w[(first + i) * rows.heads + h];
        const int sees = tile.first + i + 1;
        dw[(first + i) * rows.heads + h] = ctx.kernels.training.relu_add_backward(dot, given, weight, sees);
        std::fill(dot + sees, dot + visible, 0.0f);
      }
      tile_product(ctx, {tile.count, width, visible, s.dots, inner, 1, keys, width, dq + query, q_row});
    }
  });
  // A tile of keys now: the queries that see them are those from the tile's first position on.
  for_each_tile_of_all(ctx, rows.documents, [&](const Document& d, const QueryTile& tile, int thread) {
    const Scratch s = scratch_at(work.scratch_of(thread), width, inner);
    float* to = dk + (int64_t{d.first} + tile.first) * width;
    std::fill_n(to, int64_t{tile.count} * width, 0.0f);
    transpose_rows(rows.k + (int64_t{d.first} + tile.first) * width, width, tile.count, width, s.keys, inner);
    for (int query = tile.first; query < d.count; query += kQueryTile) {
      const int queries = std::min(kQueryTile, d.count - query);
      const int64_t first = d.first + query;
      for (int h = 0; h < rows.heads; ++h) {
        const float* q = rows.q + first * q_row + h * width;
        tile_product(ctx, {queries, tile.count, width, q, q_row, 1, s.keys, inner, s.dots, inner});
        for (int i = 0; i < queries; ++i) {
          const float* given = dscores + (first + i) * stride + tile.first;
          float* dot = s.dots + i * inner;
          const float weight = rows.w[(first + i) * rows.heads + h];
          const int seen = std::min(tile.count, query + i + 1 - tile.first);  // of these keys
          ctx.kernels.training.relu_add_backward(dot, given, weight, seen);
          std::fill(dot + seen, dot + tile.count, 0.0f);
        }
        tile_product(ctx, {tile.count, width, queries, s.dots, 1, inner, q, q_row, to, width, true});
      }
    }
  });
}

int64_t indexer_training_scratch(int width, int longest_document) {
  const int64_t floats = (width + kQueryTile) * tile_stride(longest_document);
  return std::max(floats, kScoreBuckets + int64_t{longest_document}) * static_cast<int64_t>(sizeof(float));
}

}  // namespace minke
