#include "ops/document_attention.h"

#include <algorithm>
#include <type_traits>

#include "base/error.h"
#include "ops/document_tiles.h"

namespace minke {
namespace {

// One thread's memory, for documents of up to so many tokens.
struct Scratch {
  // A head's keys and values packed, as the products of both ways need them.
  std::byte *keys, *turned_keys, *values, *turned_values;
  float* weights;  // [kQueryTile][stride] probabilities
  float* back;     // [kQueryTile][stride] their gradients
};

// Calls f(place, bytes) for each part.
template <typename F>
void visit(Scratch& s, int key_width, int value_width, int longest, const F& f) {
  const auto tile = kQueryTile * tile_stride(longest) * static_cast<int64_t>(sizeof(float));
  f(s.keys, packed_bytes(longest, key_width));
  f(s.turned_keys, packed_bytes(key_width, longest));
  f(s.values, packed_bytes(longest, value_width));
  f(s.turned_values, packed_bytes(value_width, longest));
  f(s.weights, tile);
  f(s.back, tile);
}

Scratch scratch_at(std::byte* memory, const DocumentShape& shape, int longest) {
  Scratch s{};
  visit(s, shape.key_width, shape.value_width, longest, [&](auto& place, int64_t bytes) {
    place = reinterpret_cast<std::remove_reference_t<decltype(place)>>(memory);
    memory += bytes;
  });
  return s;
}

// What one kv head of one document is about.
struct Head {
  const Context& ctx;
  const DocumentShape& shape;
  const Document& document;
  int64_t stride;  // of the rows of scratch
  Scratch s;
  PackedMatrix keys{}, turned_keys{}, values{}, turned_values{};

  int64_t q_row() const { return int64_t{shape.heads} * shape.key_width; }
  int64_t k_row() const { return int64_t{shape.kv_heads} * shape.key_width; }
  int64_t v_row() const { return int64_t{shape.kv_heads} * shape.value_width; }
  int64_t out_row() const { return int64_t{shape.heads} * shape.value_width; }

  PackedMatrix pack(const MatrixView& m, std::byte* memory) const {
    return pack_here(ctx.kernels, shape.precision, m, memory);
  }
  // k: the first row of `count` ones.
  void pack_turned_keys(const float* k, int count) {
    turned_keys = pack({k, shape.key_width, count, k_row(), true}, s.turned_keys);
  }
  void multiply(const MatrixView& a, const MatrixView& b, float* out, int64_t out_stride,
                bool add = false) const {
    matmul_here(ctx.kernels, shape.precision, {a, b, out, out_stride, add});
  }
  // By the first rows and columns of a packed matrix.
  void multiply(const MatrixView& a, const PackedMatrix& b, int cols, float* out, int64_t out_stride) const {
    const MatrixView part{nullptr, a.cols, cols, 0, false};
    matmul_here(ctx.kernels, shape.precision, {a, part, out, out_stride, false, &b});
  }
  // Of a tile's probabilities or their gradients: a row a query, or, turned, a row a key.
  MatrixView of_tile(const QueryTile& tile, const float* x) const {
    return {x, tile.count, tile.visible(), stride, false};
  }
  MatrixView turned(const QueryTile& tile, const float* x) const {
    return {x, tile.visible(), tile.count, stride, true};
  }

  // The probabilities of the queries of one tile (q: the first's) over the keys the last of them sees.
  void probabilities(const QueryTile& tile, const float* q) const {
    multiply({q, tile.count, shape.key_width, q_row(), false}, turned_keys, tile.visible(), s.weights,
             stride);
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
  void forward(const float* q, float* out) const {
    for_each_query_tile(document.count, [&](const QueryTile& tile) {
      probabilities(tile, q + tile.first * q_row());
      multiply(of_tile(tile, s.weights), values, shape.value_width, out + tile.first * out_row(), out_row());
    });
  }

  void backward(const float* q, const float* dout, float* dq, float* dk, float* dv) const {
    for_each_query_tile(document.count, [&](const QueryTile& tile) {
      const MatrixView queries{q + tile.first * q_row(), tile.count, shape.key_width, q_row(), false};
      const MatrixView given{dout + tile.first * out_row(), tile.count, shape.value_width, out_row(), false};
      probabilities(tile, queries.data);
      multiply(turned(tile, s.weights), given, dv, v_row(), true);
      multiply(given, turned_values, tile.visible(), s.back, stride);
      for (int i = 0; i < tile.count; ++i)
        ctx.kernels.training.softmax_backward(s.weights + i * stride, shape.scale, tile.visible(),
                                              s.back + i * stride);
      multiply(of_tile(tile, s.back), keys, shape.key_width, dq + tile.first * q_row(), q_row());
      multiply(turned(tile, s.back), queries, dk, k_row(), true);
    });
  }
};

// f(Head, kv head) for every kv head of every document: what threads share out.
template <typename F>
void for_each_head(const Context& ctx, const Workspace& work, const DocumentShape& shape, const F& f) {
  const int most = longest(shape.documents);
  MINKE_CHECK(document_attention_scratch(shape.key_width, shape.value_width, most) <= work.scratch_bytes);
  const int64_t all = static_cast<int64_t>(shape.documents.size()) * shape.kv_heads;
  ctx.pool.for_each(all, 1, [&](int64_t i, int64_t, int thread) {
    const Document& document = shape.documents[static_cast<size_t>(i / shape.kv_heads)];
    Head head{ctx, shape, document, tile_stride(most), scratch_at(work.scratch_of(thread), shape, most)};
    f(head, static_cast<int>(i % shape.kv_heads));
  });
}

}  // namespace

void document_attention(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                        const float* k, const float* v, float* out) {
  const int group = shape.heads / shape.kv_heads;
  for_each_head(ctx, work, shape, [&](Head& head, int kv) {
    const int64_t first = head.document.first;
    const int count = head.document.count;
    head.pack_turned_keys(k + first * head.k_row() + kv * shape.key_width, count);
    head.values = head.pack(
        {v + first * head.v_row() + kv * shape.value_width, count, shape.value_width, head.v_row(), false},
        head.s.values);
    for (int h = kv * group; h < (kv + 1) * group; ++h)
      head.forward(q + first * head.q_row() + h * shape.key_width,
                   out + first * head.out_row() + h * shape.value_width);
  });
}

void document_attention_backward(const Context& ctx, const Workspace& work, const DocumentShape& shape,
                                 const float* q, const float* k, const float* v, const float* dout, float* dq,
                                 float* dk, float* dv) {
  const int group = shape.heads / shape.kv_heads;
  for_each_head(ctx, work, shape, [&](Head& head, int kv) {
    const int64_t first = head.document.first;
    const int count = head.document.count;
    const int64_t key = first * head.k_row() + kv * shape.key_width,
                  value = first * head.v_row() + kv * shape.value_width;
    head.pack_turned_keys(k + key, count);
    head.keys = head.pack({k + key, count, shape.key_width, head.k_row(), false}, head.s.keys);
    head.turned_values =
        head.pack({v + value, shape.value_width, count, head.v_row(), true}, head.s.turned_values);
    for (int r = 0; r < count; ++r) {
      std::fill_n(dk + key + r * head.k_row(), shape.key_width, 0.0f);
      std::fill_n(dv + value + r * head.v_row(), shape.value_width, 0.0f);
    }
    for (int h = kv * group; h < (kv + 1) * group; ++h) {
      const int64_t query = first * head.q_row() + h * shape.key_width;
      head.backward(q + query, dout + first * head.out_row() + h * shape.value_width, dq + query, dk + key,
                    dv + value);
    }
  });
}

void attention_mass(const Context& ctx, const Workspace& work, const DocumentShape& shape, const float* q,
                    const float* k, float* mass, int64_t stride) {
  const int group = shape.heads / shape.kv_heads, most = longest(shape.documents);
  MINKE_CHECK(stride >= most);
  for_each_tile_of_all(ctx, shape.documents, [&](const Document& d, const QueryTile& tile, int thread) {
    Head head{ctx, shape, d, tile_stride(most), scratch_at(work.scratch_of(thread), shape, most)};
    const int64_t row = d.first + tile.first;
    for (int r = 0; r < tile.count; ++r) std::fill_n(mass + (row + r) * stride, d.count, 0.0f);
    for (int h = 0; h < shape.heads; ++h) {
      if (h % group == 0)
        head.pack_turned_keys(k + d.first * head.k_row() + h / group * shape.key_width, tile.visible());
      head.probabilities(tile, q + row * head.q_row() + h * shape.key_width);
      for (int r = 0; r < tile.count; ++r)
        ctx.kernels.add(mass + (row + r) * stride, head.s.weights + r * head.stride, tile.visible());
    }
  });
}

int64_t document_attention_scratch(int key_width, int value_width, int longest_document) {
  Scratch s{};
  int64_t all = 0;
  visit(s, key_width, value_width, longest_document, [&](const auto&, int64_t bytes) { all += bytes; });
  return all;
}

}  // namespace minke
