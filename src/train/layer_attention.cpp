// A layer's attention in training: grouped queries, or latent attention in its decompressed form.

#include <algorithm>
#include <cmath>

#include "ops/document_attention.h"
#include "ops/indexer_training.h"
#include "ops/rows_backward.h"
#include "train/layer.h"

namespace minke {
namespace {

void add_bias(const Context& ctx, float* x, int rows, const Mat& bias) {
  if (!bias) return;
  for_rows(ctx, rows, bias.cols,
           [&](int64_t r) { ctx.kernels.add(x + r * bias.cols, bias.f32(), bias.cols); });
}

float index_scale(const IndexerConfig& x) {
  return 1 / std::sqrt(static_cast<float>(x.heads) * static_cast<float>(x.width));
}

}  // namespace

// counts < 0 everywhere is the same as none.
Selection LayerPass::selection() const {
  return {k.chosen, k.chosen_counts, c.indexer ? c.indexer->topk : 0};
}

DocumentShape LayerPass::attention_shape(const Selection& chosen) const {
  const bool sparse = c.indexer && objective.selects();
  DocumentShape shape{c.heads, c.kv_heads, c.head_dim, c.head_dim, c.attention_scale, rows_of.documents};
  if (c.mla) {
    shape.kv_heads = c.heads;
    shape.key_width = c.mla->nope + c.mla->rope;
    shape.value_width = c.mla->v;
  }
  if (sparse) shape.selection = &chosen;
  shape.precision = precision;
  return shape;
}

// k.input in; k.middle = k.input + attention.
void LayerPass::attention() {
  rmsnorm(ctx, rows(k.input, c.dim), w.attn_norm.f32(), c.norm_eps, k.attn_in, c.dim);
  if (c.mla)
    mla();
  else
    gqa();
  if (c.indexer && objective.indexer != IndexerPart::none) index();
  const Selection chosen = selection();
  document_attention(ctx, s.work, attention_shape(chosen), k.q, k.k, k.v, k.attended);
  for_rows(ctx, n, c.dim, [&](int64_t r) { std::copy_n(k.input + r * c.dim, c.dim, k.middle + r * c.dim); });
  project_to(k.attended, w.wo, k.middle, true);
  adapt_to(k.attended, of_layer(model.adapters).wo, k.middle);
  add_bias(ctx, k.middle, n, w.bo);
}

void LayerPass::gqa() {
  project_to(k.attn_in, w.wq, k.q);
  project_to(k.attn_in, w.wk, k.k);
  project_to(k.attn_in, w.wv, k.v);
  const LayerAdapters& a = of_layer(model.adapters);
  adapt_to(k.attn_in, a.wq, k.q);
  adapt_to(k.attn_in, a.wk, k.k);
  adapt_to(k.attn_in, a.wv, k.v);
  add_bias(ctx, k.q, n, w.bq);
  add_bias(ctx, k.k, n, w.bk);
  add_bias(ctx, k.v, n, w.bv);
  rope(ctx, rotation(c.rope.half), k.q, n, w.wq.rows, c.heads, c.head_dim);
  rope(ctx, rotation(c.rope.half), k.k, n, w.wk.rows, c.kv_heads, c.head_dim);
}

void LayerPass::mla() {
  const MlaConfig& m = *c.mla;
  const int head = m.nope + m.rope, width = c.heads * head, down = m.kv_lora + m.rope;
  if (m.q_lora > 0) {
    project_to(k.attn_in, w.wq_a, k.q_down);
    rmsnorm(ctx, rows(k.q_down, m.q_lora), w.q_a_norm.f32(), kLatentEps, k.q_latent, m.q_lora);
    project_to(k.q_latent, w.wq_b, k.q);
  } else {
    project_to(k.attn_in, w.wq, k.q);
  }
  rope(ctx, rotation(c.rope.half), k.q + m.nope, n, width, c.heads, head);
  project_to(k.attn_in, w.wkv_a, k.kv_down);
  rope(ctx, rotation(c.rope.half), k.kv_down + m.kv_lora, n, down, 1, m.rope);
  rmsnorm(ctx, {k.kv_down, down, n, m.kv_lora}, w.kv_a_norm.f32(), kLatentEps, k.latent, m.kv_lora);
  for (int h = 0; h < c.heads; ++h) {  // k_b holds each head's part of kv_b transposed
    const MatrixView keys{w.k_b.f32() + int64_t{h} * m.kv_lora * m.nope, m.kv_lora, m.nope, m.nope, false};
    matmul(ctx, precision, view(rows(k.latent, m.kv_lora)), keys, k.k + h * head, width);
  }
  for_rows(ctx, n, c.heads * m.rope, [&](int64_t r) {  // the rotated part is the same for every head
    for (int h = 0; h < c.heads; ++h)
      std::copy_n(k.kv_down + r * down + m.kv_lora, m.rope, k.k + r * width + h * head + m.nope);
  });
  project_to(k.latent, w.v_b, k.v);
}

// The indexer's queries, keys and weights, and what it chooses.
void LayerPass::index() {
  const IndexerConfig& x = *c.indexer;
  const int width = x.heads * x.width;
  project_to(k.attn_in, w.index_k, k.index_down, false, true);
  layernorm(ctx, rows(k.index_down, x.width), w.index_k_norm.f32(), w.index_k_bias.f32(), kLatentEps,
            k.index_k, x.width);
  rope(ctx, rotation(true), k.index_k, n, x.width, 1, x.width);
  project_to(k.attn_in, w.index_weights, k.index_w, false, true);
  for_rows(ctx, n, x.heads,
           [&](int64_t r) { ctx.kernels.scale(k.index_w + r * x.heads, index_scale(x), x.heads); });
  project_to(k.q_latent, w.index_q, k.index_q, false, true);
  rope(ctx, rotation(true), k.index_q, n, width, x.heads, x.width);
  if (!objective.selects()) return;
  const auto long_one = [&](const Document& d) { return d.count > x.topk; };
  if (std::ranges::none_of(rows_of.documents, long_one)) {
    std::fill_n(k.chosen_counts, n, -1);
    return;
  }
  index_scores(ctx, s.work, {x.heads, x.width, k.index_q, k.index_k, k.index_w, rows_of.documents},
               s.index_scores, s.limits.longest);
  choose_positions(ctx, s.work, rows_of.documents, s.index_scores, s.limits.longest, x.topk, k.chosen,
                   k.chosen_counts);
}

// s.dhidden holds the gradient by k.middle; it becomes that by k.input.
void LayerPass::attention_backward(Losses& losses) {
  if (c.indexer && objective.indexer_learns()) losses.indexer += index_backward();
  if (!objective.model_learns()) return;
  if (data(g.bo)) bias_backward(ctx, rows(s.dhidden, c.dim), data(g.bo));
  project_back(k.attended, w.wo, g.wo, s.dhidden, s.dattended, false);
  adapt_back(k.attended, of_layer(model.adapters).wo, of_layer(model.adapter_gradients).wo, s.dhidden,
             s.dattended);
  const Selection chosen = selection();
  document_attention_backward(ctx, s.work, attention_shape(chosen), k.q, k.k, k.v, s.dattended, s.dq, s.dk,
                              s.dv);
  if (c.mla)
    mla_backward();
  else
    gqa_backward();
  rmsnorm_backward(ctx, rows(k.input, c.dim), w.attn_norm.f32(), c.norm_eps, rows(s.dnormed, c.dim),
                   s.dhidden, c.dim, data(g.attn_norm));
}

// From s.dq, s.dk, s.dv to s.dnormed.
void LayerPass::gqa_backward() {
  const int q_width = w.wq.rows, kv_width = w.wk.rows;
  rope_backward(ctx, rotation(c.rope.half), s.dq, n, q_width, c.heads, c.head_dim);
  rope_backward(ctx, rotation(c.rope.half), s.dk, n, kv_width, c.kv_heads, c.head_dim);
  if (data(g.bq)) bias_backward(ctx, rows(s.dq, q_width), data(g.bq));
  if (data(g.bk)) bias_backward(ctx, rows(s.dk, kv_width), data(g.bk));
  if (data(g.bv)) bias_backward(ctx, rows(s.dv, kv_width), data(g.bv));
  project_back(k.attn_in, w.wq, g.wq, s.dq, s.dnormed, false);
  project_back(k.attn_in, w.wk, g.wk, s.dk, s.dnormed, true);
  project_back(k.attn_in, w.wv, g.wv, s.dv, s.dnormed, true);
  const LayerAdapters &a = of_layer(model.adapters), &to = of_layer(model.adapter_gradients);
  adapt_back(k.attn_in, a.wq, to.wq, s.dq, s.dnormed);
  adapt_back(k.attn_in, a.wk, to.wk, s.dk, s.dnormed);
  adapt_back(k.attn_in, a.wv, to.wv, s.dv, s.dnormed);
}

void LayerPass::mla_backward() {
  const MlaConfig& m = *c.mla;
  const int head = m.nope + m.rope, width = c.heads * head;
  latent_backward();
  project_back(k.attn_in, w.wkv_a, g.wkv_a, s.dkv_down, s.dnormed, false);
  rope_backward(ctx, rotation(c.rope.half), s.dq + m.nope, n, width, c.heads, head);
  if (m.q_lora == 0) {
    project_back(k.attn_in, w.wq, g.wq, s.dq, s.dnormed, true);
    return;
  }
  project_back(k.q_latent, w.wq_b, g.wq_b, s.dq, s.dq_latent, false);
  for_rows(ctx, n, m.q_lora, [&](int64_t r) { std::fill_n(s.dq_down + r * m.q_lora, m.q_lora, 0.0f); });
  rmsnorm_backward(ctx, rows(k.q_down, m.q_lora), w.q_a_norm.f32(), kLatentEps, rows(s.dq_latent, m.q_lora),
                   s.dq_down, m.q_lora, data(g.q_a_norm));
  project_back(k.attn_in, w.wq_a, g.wq_a, s.dq_down, s.dnormed, true);
}

// From s.dk and s.dv to s.dkv_down.
void LayerPass::latent_backward() {
  const MlaConfig& m = *c.mla;
  const int head = m.nope + m.rope, width = c.heads * head, down = m.kv_lora + m.rope;
  project_back(k.latent, w.v_b, g.v_b, s.dv, s.dlatent, false);
  for (int h = 0; h < c.heads; ++h) {
    const int64_t part = int64_t{h} * m.kv_lora * m.nope;
    const Rows dkeys{s.dk + h * head, width, n, m.nope};
    const MatrixView back{w.k_b.f32() + part, m.nope, m.kv_lora, m.nope, true};
    matmul(ctx, precision, view(dkeys), back, s.dlatent, m.kv_lora, true);
    if (data(g.k_b))
      matmul(ctx, precision, transposed(rows(k.latent, m.kv_lora)), view(dkeys), data(g.k_b) + part, m.nope,
             true);
  }
  for_rows(ctx, n, down + c.heads * m.rope, [&](int64_t r) {
    float* to = s.dkv_down + r * down;
    std::fill_n(to, down, 0.0f);
    for (int h = 0; h < c.heads; ++h)
      ctx.kernels.add(to + m.kv_lora, s.dk + r * width + h * head + m.nope, m.rope);
  });
  rope_backward(ctx, rotation(c.rope.half), s.dkv_down + m.kv_lora, n, down, 1, m.rope);
  rmsnorm_backward(ctx, {k.kv_down, down, n, m.kv_lora}, w.kv_a_norm.f32(), kLatentEps,
                   rows(s.dlatent, m.kv_lora), s.dkv_down, down, data(g.kv_a_norm));
}

// The indexer's loss, and its gradients; what it reads takes none.
double LayerPass::index_backward() {
  const IndexerConfig& x = *c.indexer;
  const int width = x.heads * x.width;
  const int64_t stride = s.limits.longest;
  const IndexerRows index{x.heads, x.width, k.index_q, k.index_k, k.index_w, rows_of.documents};
  const double mean = 1.0 / (static_cast<double>(objective.rows) * c.layers);
  const Selection chosen = selection();
  attention_mass(ctx, s.work, attention_shape(chosen), k.q, k.k, s.attention_mass, stride);
  index_scores(ctx, s.work, index, s.index_scores, stride);
  const double loss = indexer_loss(ctx, rows_of.documents, objective.selects() ? &chosen : nullptr,
                                   s.attention_mass, s.index_scores, stride, static_cast<float>(mean));
  index_scores_backward(ctx, s.work, index, s.index_scores, stride, s.dindex_q, s.dindex_k, s.dindex_w);
  rope_backward(ctx, rotation(true), s.dindex_q, n, width, x.heads, x.width);
  project_back(k.q_latent, w.index_q, g.index_q, s.dindex_q, nullptr, false, true);
  for_rows(ctx, n, x.heads,
           [&](int64_t r) { ctx.kernels.scale(s.dindex_w + r * x.heads, index_scale(x), x.heads); });
  project_back(k.attn_in, w.index_weights, g.index_weights, s.dindex_w, nullptr, false, true);
  rope_backward(ctx, rotation(true), s.dindex_k, n, x.width, 1, x.width);
  layernorm_backward(ctx, rows(k.index_down, x.width), w.index_k_norm.f32(), kLatentEps,
                     rows(s.dindex_k, x.width), s.dindex_k, x.width, data(g.index_k_norm),
                     data(g.index_k_bias));
  project_back(k.attn_in, w.index_k, g.index_k, s.dindex_k, nullptr, false, true);
  return loss * mean;
}

}  // namespace minke
