#include "ops/document_attention.h"

#include <algorithm>

#include "base/error.h"
#include "ops/document_tiles.h"

namespace minke {
namespace {

// One thread's memory.
struct Scratch {
  float* keys;     // [key_width][S], a head's keys transposed
  float* values;   // [value_width][S], the same of its values
  float* weights;  // [kQueryTile][S] probabilities
  float* back;     // [kQueryTile][S] their gradients
};

Scratch scratch_at(std::byte* memory, const DocumentShape& shape, int64_t stride) {
  auto* keys = reinterpret_cast<float*>(memory);
  float* values = keys + shape.key_width * stride;
  float* weights = values + shape.value_width * stride;
  return {keys, values, weights, weights + kQueryTile * stride};
}

// What one kv head of one document is about.
struct Head {
  const Context& ctx;
  const DocumentShape& shape;
  const Document& document;
  int64_t stride;  // of the rows of scratch
  Scratch s;

  int64_t q_row() const { return int64_t{shape.heads} * shape.key_width; }
  int64_t k_row() const { return int64_t{shape.kv_heads} * shape.key_width; }
  int64_t v_row() const { return int64_t{shape.kv_heads} * shape.value_width; }
  int64_t out_row() const { return int64_t{shape.heads} * shape.value_width; }

  // The probabilities of the queries of one tile (q: the first's) over the keys the last of them sees.
  void probabilities(const QueryTile& tile, const float* q) const {
    tile_product(
        ctx, {tile.count, tile.visible(), shape.key_width, q, q_row(), 1, s.keys, stride, s.weights, stride});
    for (int i = 0; i < tile.count; ++i) {
      float* row = s.weights + i * stride;
      const int sees = tile.first + i + 1;
      ctx.kernels.scale(row, shape.scale, sees);
      const int64_t r = document.first + tile.first + i;
      if (shape.selection && shape.selection->counts[r] >= 0)
        softmax_of_chosen(row, sees, shape.selection->chosen + r * shape.selection->most,
                          shape.selection->counts[r]);
      else
        ctx.kernels.softmax(row, sees);
      std::fill(row + sees, row + tile.visible(), 0.0f);
    }
  }

  // Of the chosen positions alone; the others get 0.
  void softmax_of_chosen(float* row, int sees, const int32_t* chosen, int count) const {
    for (int j = 0; j < count; ++j) s.back[j] = row[chosen[j]];
    ctx.kernels.softmax(s.back, count);
    std::fill_n(row, sees, 0.0f);
    for (int j = 0; j < count; ++j) row[chosen[j]] = s.back[j];
  }

  // Of one head, in tiles. out: its first row.
  void forward(const float* q, const float* v, float* out) const {
    for_each_query_tile(document.count, [&](const QueryTile& tile) {
      probabilities(tile, q + tile.first * q_row());
      tile_product(ctx, {tile.count, shape.value_width, tile.visible(), s.weights, stride, 1, v, v_row(),
                         out + tile.first * out_row(), out_row()});
    });
  }

  void backward(const float* q, const float* k, const float* dout, float* dq, float* dk, float* dv) const {
    for_each_query_tile(document.count, [&](const QueryTile& tile) {
      const int visible = tile.visible();
      const float *queries = q + tile.first * q_row(), *given = dout + tile.first * out_row();
      probabilities(tile, queries);
      tile_product(ctx, {visible, shape.value_width, tile.count, s.weights, 1, stride, given, out_row(), dv,
                         v_row(), true});
      tile_product(ctx, {tile.count, visible, shape.value_width, given, out_row(), 1, s.values, stride,
                         s.back, stride});
      for (int i = 0; i < tile.count; ++i) {  // through the softmax: p (dp - sum p dp), times the scale
        float *p = s.weights + i * stride, *d = s.back + i * stride;
        const float along = ctx.kernels.dot(p, d, visible);
        for (int j = 0; j < visible; ++j) d[j] = p[j] * (d[j] - along) * shape.scale;
      }
      tile_product(ctx, {tile.count, shape.key_width, visible, s.back, stride, 1, k, k_row(),
                         dq + tile.first * q_row(), q_row()});
      tile_product(ctx, {visible, shape.key_width, tile.count, s.back, 1, stride, queries, q_row(), dk,
                         k_row(), true});
    });
  }
};

// f(Head, kv head) for every kv head of every document: what threads share out.
template <typename F>
void for_each_head(const Context& ctx, const Workspace& work, const DocumentShape& shape, const F& f) {
  const int64_t stride = tile_stride(longest(shape.documents));
  MINKE_CHECK(document_attention_scratch(shape.key_width, shape.value_width, longest(shape.documents)) <=
              work.scratch_bytes);
  const int64_t all = static_cast<int64_t>(shape.documents.size()) * shape.kv_heads;
  ctx.pool.for_each(all, 1, [&](int64_t i, int64_t, int thread) {
    const Document& document = shape.documents[static_cast<size_t>(i / shape.kv_heads)];
    f(Head{ctx, shape, document, stride, scratch_at(work.scratch_of(thread), shape, stride)},
      static_cast<int>(i % shape.kv_heads));
  });
}

}  // namespace

void document_attention(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                        const float* k, const float* v, float* out) {
  const int group = shape.heads / shape.kv_heads;
  for_each_head(ctx, work, shape, [&](const Head& head, int kv) {
    const int64_t first = head.document.first;
    transpose_rows(k + first * head.k_row() + kv * shape.key_width, head.k_row(), head.document.count,
                   shape.key_width, head.s.keys, head.stride);
    for (int h = kv * group; h < (kv + 1) * group; ++h)
      head.forward(q + first * head.q_row() + h * shape.key_width,
                   v + first * head.v_row() + kv * shape.value_width,
                   out + first * head.out_row() + h * shape.value_width);
  });
}

void document_attention_backward(const Context& ctx, const Workspace& work, const DocumentShape& shape,
                                 const float* q, const float* k, const float* v, const float* dout, float* dq,
                                 float* dk, float* dv) {
  const int group = shape.heads / shape.kv_heads;
  for_each_head(ctx, work, shape, [&](const Head& head, int kv) {
    const int64_t first = head.document.first;
    const int count = head.document.count;
    const int64_t key = first * head.k_row() + kv * shape.key_width,
                  value = first * head.v_row() + kv * shape.value_width;
    transpose_rows(k + key, head.k_row(), count, shape.key_width, head.s.keys, head.stride);
    transpose_rows(v + value, head.v_row(), count, shape.value_width, head.s.values, head.stride);
    for (int r = 0; r < count; ++r) {
      std::fill_n(dk + key + r * head.k_row(), shape.key_width, 0.0f);
      std::fill_n(dv + value + r * head.v_row(), shape.value_width, 0.0f);
    }
    for (int h = kv * group; h < (kv + 1) * group; ++h) {
      const int64_t query = first * head.q_row() + h * shape.key_width;
      head.backward(q + query, k + key, dout + first * head.out_row() + h * shape.value_width, dq + query,
                    dk + key, dv + value);
    }
  });
}

void attention_mass(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                    const float* k, float* mass, int64_t stride) {
  const int group = shape.heads / shape.kv_heads, most = longest(shape.documents);
  const int64_t inner = tile_stride(most);
  MINKE_CHECK(stride >= most);
  for_each_tile_of_all(ctx, shape.documents, [&](const Document& d, const QueryTile& tile, int thread) {
    const Head head{ctx, shape, d, inner, scratch_at(work.scratch_of(thread), shape, inner)};
    const int64_t row = d.first + tile.first;
    for (int r = 0; r < tile.count; ++r) std::fill_n(mass + (row + r) * stride, d.count, 0.0f);
    for (int h = 0; h < shape.heads; ++h) {
      if (h % group == 0)
        transpose_rows(k + d.first * head.k_row() + h / group * shape.key_width, head.k_row(), tile.visible(),
                       shape.key_width, head.s.keys, inner);
      head.probabilities(tile, q + row * head.q_row() + h * shape.key_width);
      for (int r = 0; r < tile.count; ++r)
        ctx.kernels.add(mass + (row + r) * stride, head.s.weights + r * inner, tile.visible());
    }
  });
}

int64_t document_attention_scratch(int key_width, int value_width, int longest_document) {
  return (key_width + value_width + 2 * kQueryTile) * tile_stride(longest_document) *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace minke
