#include "model/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "ops/indexer.h"
#include "ops/rows.h"
#include "ops/smooth_keys.h"

namespace minke {
namespace {

constexpr float kLatentEps =
    1e-6f;  // of q_a_norm, kv_a_norm and the indexer's norm, whatever the model's own

Context with_tap(Context ctx, Tap* tap) {
  ctx.tap = tap;
  return ctx;
}

// One step: everything the layers share.
struct Step {
  const Context ctx;
  const Config& c;
  const Weights& weights;
  State& s;
  const Batch& batch;
  Tap* tap;
  int n;                // rows
  bool narrow = false;  // only those that come out are left

  const LayerWeights& layer_weights(int layer) const { return weights.layers[static_cast<size_t>(layer)]; }
  const LayerAdapters& layer_adapters(int layer) const {
    static const LayerAdapters kNone;
    return weights.adapters.empty() ? kNone : weights.adapters[static_cast<size_t>(layer)];
  }
  Rows rows(const float* data, int cols) const { return {data, cols, n, cols}; }
  Rotation rotation(bool half) const { return {s.cos, s.sin, c.rope.dims, half}; }

  void start();
  void embed();
  void layer(int layer);
  void gqa(int layer, const LayerWeights& w);
  void mla(int layer, const LayerWeights& w);
  void clear_runs();
  void add_run(const Run& run, int given);
  bool narrows(int layer) const;
  void keep_wanted();
  void absorbed(int layer, const LayerWeights& w, bool sparse);
  void index_keys(int layer, const LayerWeights& w, bool keys_only);
  bool choose(int layer, const LayerWeights& w);
  void experts(int layer, const LayerWeights& w);
  void gated_mlp(const Mat& gate, const Mat& up, const Mat& down, int inter, const LayerAdapters& a = {});
  void finish(const char* hidden_name, const char* logits_name, const float* norm);

  void scale_queries(int layer, int width) const;
  void store_rows(int layer, const KvPart& part, const float* data, int64_t stride) const;
  void see(const char* name, int layer, const float* data, int cols) const {
    if (tap) tap->floats(name, layer, rows(data, cols));
  }
};

void Step::start() {
  MINKE_CHECK(n > 0 && n <= s.limits.rows, "{} rows, {} at most", n, s.limits.rows);
  clear_runs();
  for (const SequenceSlice& slice : batch.sequences) {
    MINKE_CHECK(static_cast<int64_t>(slice.kv->pages.size()) * kPageTokens >= slice.position + slice.count);
    add_run({slice.first, slice.count, slice.position, slice.kv}, slice.given);
  }
  rope_angles(s.frequencies, s.rope_magnitude, {s.positions, static_cast<size_t>(n)}, s.cos, s.sin);
}

void Step::clear_runs() {
  s.runs.clear();
  s.decompressed_runs.clear();
  s.absorbed_runs.clear();
}

// Rows of a sequence of which tokens [0, given) were handed in. Latent attention takes a form row by row:
// runs are cut where it changes, and where the indexer begins to choose.
void Step::add_run(const Run& run, int given) {
  s.runs.push_back(run);
  for (int i = 0; i < run.count; ++i) s.positions[run.row + i] = run.position + i;
  if (!c.mla) return;
  const LatentShape shape = latent_shape(c, s.kv->row(0).latent);
  if (!s.k_nope) given = 0;
  const int end = run.position + run.count;
  for (int at = run.position; at < end;) {
    int until = std::min(end, (at / kFormBlock + 1) * kFormBlock);
    if (at < given) until = std::min(until, given);
    const bool dense = !c.indexer || at < c.indexer->topk;
    if (dense && c.indexer) until = std::min(until, c.indexer->topk);
    std::vector<Run>& to = dense && decompresses(shape, at, given) ? s.decompressed_runs : s.absorbed_runs;
    const Run part{run.row + at - run.position, until - at, at, run.kv};
    if (!to.empty() && to.back().kv == run.kv && to.back().row + to.back().count == part.row)
      to.back().count += part.count;
    else
      to.push_back(part);
    at = until;
  }
}

// The rows of a slice that come out.
struct Wanted {
  int first, count;
};
Wanted wanted(const SequenceSlice& slice) {
  if (slice.want == Want::nothing) return {slice.first, 0};
  if (slice.want == Want::last_logits) return {slice.first + slice.count - 1, 1};
  return {slice.first, slice.count};
}

// Whether this layer's keys and values are all that is needed of some rows: in the last one no other layer
// follows.
bool Step::narrows(int layer) const {
  return layer + 1 >= c.layers && !tap && !batch.keep_hidden &&
         std::any_of(batch.sequences.begin(), batch.sequences.end(),
                     [](const SequenceSlice& slice) { return wanted(slice).count < slice.count; });
}

// Leaves only the rows that come out, one after the other. Their products are the same among fewer.
void Step::keep_wanted() {
  clear_runs();
  n = 0;
  for (const SequenceSlice& slice : batch.sequences) {
    const auto [first, count] = wanted(slice);
    if (count == 0) continue;
    const size_t bytes = static_cast<size_t>(count) * static_cast<size_t>(c.dim) * sizeof(float);
    std::memmove(s.hidden + int64_t{n} * c.dim, s.hidden + int64_t{first} * c.dim, bytes);
    std::memmove(s.normed + int64_t{n} * c.dim, s.normed + int64_t{first} * c.dim, bytes);
    add_run({n, count, slice.position + first - slice.first, slice.kv}, slice.given);
    n += count;
  }
  narrow = true;
  if (n > 0)
    rope_angles(s.frequencies, s.rope_magnitude, {s.positions, static_cast<size_t>(n)}, s.cos, s.sin);
}

void Step::embed() {
  ctx.pool.for_each(n, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      dequantize_row(weights.embed, batch.tokens[static_cast<size_t>(r)], s.hidden + r * c.dim);
  });
}

// Rows of one part into the cache, head by head in its format.
void Step::store_rows(int layer, const KvPart& part, const float* data, int64_t stride) const {
  for (const Run& run : s.runs) {
    for (int i = 0; i < run.count; ++i) {
      std::byte* to = s.kv->row_at(layer, *run.kv, run.position + i) + part.offset;
      const float* from = data + (run.row + i) * stride;
      for (int h = 0; h < part.heads; ++h)
        ctx.kernels.store_kv(part.format, from + h * part.head_width(), part.head_width(),
                             to + h * part.head_bytes());
    }
  }
}

// q times the scale of q . k; in Llama 4's layers without rotation it also grows with the position.
void Step::scale_queries(int layer, int width) const {
  const bool grows = !c.rotates(layer) && c.temperature_scale > 0;
  ctx.pool.for_each(n, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float scale = c.attention_scale;
      if (grows) {
        const float step = std::floor(static_cast<float>(s.positions[r] + 1) / c.temperature_floor);
        scale *= 1 + c.temperature_scale * std::log(1 + step);
      }
      ctx.kernels.scale(s.q + r * width, scale, width);
    }
  });
}

// Grouped-query attention: s.normed in, added to s.hidden.
void Step::gqa(int layer, const LayerWeights& w) {
  const int q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  const auto bias = [](const Mat& b) { return b ? b.f32() : nullptr; };
  const LayerAdapters& a = layer_adapters(layer);
  const Product qkv[] = {{&w.wq, s.q, q_width, bias(w.bq), false, false, &a.wq},
                         {&w.wk, s.k, kv_width, bias(w.bk), false, false, &a.wk},
                         {&w.wv, s.v, kv_width, bias(w.bv), false, false, &a.wv}};
  const bool keys_first = narrows(layer);
  linear(ctx, s.work, rows(s.normed, c.dim), std::span(qkv).subspan(keys_first ? 1 : 0));
  const auto turn = [&](float* x, int width, int heads) {
    if (!c.rotates(layer)) return;
    rope(ctx, rotation(c.rope.half), x, n, width, heads, c.head_dim);
    if (c.qk_norm) normalise_heads(ctx, x, n, width, heads, c.head_dim, c.norm_eps);
  };
  turn(s.k, kv_width, c.kv_heads);
  const KvRow& row = s.kv->row(layer);
  const KeySmoothing smoothing{s.key_offset, s.key_scale};
  if (s.key_offset) {
    smooth_from_bias(ctx.kernels, s.mean_turns, c.rope.half, w.bk.f32(), c.kv_heads, c.head_dim, smoothing);
    smooth_keys(ctx, smoothing, n, c.kv_heads, c.head_dim, s.k);
  }
  store_rows(layer, row.key, s.k, kv_width);
  store_rows(layer, row.value, s.v, kv_width);
  if (keys_first) {
    keep_wanted();
    if (n == 0) return;
    linear(ctx, s.work, rows(s.normed, c.dim), qkv[0]);
  }
  turn(s.q, q_width, c.heads);
  scale_queries(layer, q_width);
  if (s.key_offset) scale_by_keys(ctx, smoothing, n, c.heads, c.kv_heads, c.head_dim, s.q);
  const AttentionShape shape{c.heads, c.kv_heads, c.head_dim,       c.head_dim,
                             row.key, row.value,  c.lookback(layer)};
  attention(ctx, s.work, *s.kv, layer, shape, s.runs, s.q, s.attended);
  linear(ctx, s.work, rows(s.attended, q_width), {&w.wo, s.hidden, c.dim, bias(w.bo), true, false, &a.wo});
}

// The indexer's keys into the cache, and unless keys_only its heads' weights.
void Step::index_keys(int layer, const LayerWeights& w, bool keys_only) {
  const IndexerConfig& x = *c.indexer;
  const Product from_hidden[] = {{&w.index_k, s.index_k, x.width, nullptr, false, true},
                                 {&w.index_weights, s.index_weights, x.heads, nullptr, false, true}};
  linear(ctx, s.work, rows(s.normed, c.dim), std::span(from_hidden).first(keys_only ? 1 : 2));
  layernorm(ctx, rows(s.index_k, x.width), w.index_k_norm.f32(), w.index_k_bias.f32(), kLatentEps, s.index_k,
            x.width);
  rope(ctx, rotation(true), s.index_k, n, x.width, 1, x.width);
  store_rows(layer, s.kv->row(layer).index, s.index_k, x.width);
}

// The indexer's choice of positions for every row. False where no row sees more than topk, so that attention
// is dense.
bool Step::choose(int layer, const LayerWeights& w) {
  const IndexerConfig& x = *c.indexer;
  const KvPart& part = s.kv->row(layer).index;
  const bool needed =
      std::any_of(s.runs.begin(), s.runs.end(), [&](const Run& r) { return r.position + r.count > x.topk; });
  if (!needed && !s.limits.inspect) return false;
  if (narrow)
    linear(ctx, s.work, rows(s.normed, c.dim),
           {&w.index_weights, s.index_weights, x.heads, nullptr, false, true});
  const int q_width = x.heads * x.width;
  linear(ctx, s.work, rows(s.q_latent, c.mla->q_lora), {&w.index_q, s.index_q, q_width});
  rope(ctx, rotation(true), s.index_q, n, q_width, x.heads, x.width);
  const float scale = 1 / std::sqrt(static_cast<float>(x.heads) * static_cast<float>(x.width));
  ctx.kernels.scale(s.index_weights, scale, n * x.heads);
  const IndexerBatch indexer{x.heads,        x.width,         x.topk,           part,
                             s.index_q,      s.index_weights, s.limits.context, s.limits.inspect,
                             s.index_scores, s.limits.context};
  choose_positions(ctx, s.work, *s.kv, layer, indexer, s.runs, s.chosen, s.chosen_counts);
  if (tap) {
    if (s.index_scores)
      tap->floats("indexer_scores", layer, {s.index_scores, s.limits.context, n, s.limits.context});
    tap->integers("indexer_counts", layer, s.chosen_counts, n, 1);
    tap->integers("indexer_topk", layer, s.chosen, n, x.topk);
  }
  return needed;
}

// Multi-head latent attention: s.normed in, added to s.hidden.
void Step::mla(int layer, const LayerWeights& w) {
  const MlaConfig& m = *c.mla;
  const int head = m.nope + m.rope, q_width = c.heads * head, latent = m.kv_lora + m.rope;
  const bool keys_first = narrows(layer);
  const Product down[] = {
      m.q_lora > 0 ? Product{&w.wq_a, s.q_latent, m.q_lora} : Product{&w.wq, s.q, q_width},
      {&w.wkv_a, s.kv_latent, latent}};
  linear(ctx, s.work, rows(s.normed, c.dim), std::span(down).subspan(keys_first ? 1 : 0));
  rmsnorm(ctx, {s.kv_latent, latent, n, m.kv_lora}, w.kv_a_norm.f32(), kLatentEps, s.kv_latent, latent);
  rope(ctx, rotation(c.rope.half), s.kv_latent + m.kv_lora, n, latent, 1, m.rope);
  const KvRow& row = s.kv->row(layer);
  store_rows(layer, row.latent, s.kv_latent, latent);
  if (c.indexer) index_keys(layer, w, keys_first);
  if (keys_first) {
    keep_wanted();
    if (n == 0) return;
    linear(ctx, s.work, rows(s.normed, c.dim), down[0]);
  }
  if (m.q_lora > 0) {
    rmsnorm(ctx, rows(s.q_latent, m.q_lora), w.q_a_norm.f32(), kLatentEps, s.q_latent, m.q_lora);
    linear(ctx, s.work, rows(s.q_latent, m.q_lora), {&w.wq_b, s.q, q_width});
  }
  rope(ctx, rotation(c.rope.half), s.q + m.nope, n, q_width, c.heads, head);
  scale_queries(layer, q_width);
  const bool sparse = c.indexer && choose(layer, w);
  if (!s.decompressed_runs.empty())
    decompressed_attention(ctx, s.work, *s.kv, layer, latent_shape(c, row.latent), k_nope_of(c, s, layer),
                           w.v_b, s.decompressed_runs, s.decompressed, s.q, s.attended);
  if (!s.absorbed_runs.empty()) absorbed(layer, w, sparse);
  linear(ctx, s.work, rows(s.attended, c.heads * m.v), {&w.wo, s.hidden, c.dim, nullptr, true});
}

// Attention in absorbed form: keys and values are the cached latents themselves.
void Step::absorbed(int layer, const LayerWeights& w, bool sparse) {
  const MlaConfig& m = *c.mla;
  const int head = m.nope + m.rope, q_width = c.heads * head, latent = m.kv_lora + m.rope;
  const int64_t all = int64_t{c.heads} * m.kv_lora;
  // f(first row, rows) for each stretch of rows.
  const auto for_rows = [&](const auto& f) {
    for (size_t i = 0; i < s.absorbed_runs.size();) {
      const int first = s.absorbed_runs[i].row;
      int end = first;
      for (; i < s.absorbed_runs.size() && s.absorbed_runs[i].row == end; ++i)
        end += s.absorbed_runs[i].count;
      f(first, end - first);
    }
  };
  for_rows([&](int64_t first, int count) {
    float *q = s.q + first * q_width, *to = s.q_absorbed + first * c.heads * latent;
    head_linear(ctx, s.work, count,
                {&w.k_b, c.heads, m.kv_lora, q, q_width, head, to, int64_t{c.heads} * latent, latent});
    ctx.pool.for_each(count, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * c.heads; i < end * c.heads; ++i)
        std::memcpy(to + i * latent + m.kv_lora, q + i * head + m.nope,
                    static_cast<size_t>(m.rope) * sizeof(float));
    });
  });
  const KvRow& row = s.kv->row(layer);
  const AttentionShape shape{c.heads, 1, latent, m.kv_lora, row.latent, row.latent};
  if (sparse) {
    const Selection selection{s.chosen, s.chosen_counts, c.indexer->topk};
    sparse_attention(ctx, s.work, *s.kv, layer, shape, s.absorbed_runs, selection, s.q_absorbed,
                     s.attended_latent);
  } else {
    attention(ctx, s.work, *s.kv, layer, shape, s.absorbed_runs, s.q_absorbed, s.attended_latent);
  }
  for_rows([&](int64_t first, int count) {
    head_linear(ctx, s.work, count,
                {&w.v_b, c.heads, m.v, s.attended_latent + first * all, all, m.kv_lora,
                 s.attended + first * c.heads * m.v, c.heads * m.v, m.v});
  });
}

// down(silu(gate x) * (up x)) of s.normed, added to s.hidden.
void Step::gated_mlp(const Mat& gate, const Mat& up, const Mat& down, int inter, const LayerAdapters& a) {
  gated_linear(ctx, s.work, rows(s.normed, c.dim), {&gate, s.gate, inter, nullptr, false, false, &a.gate},
               {&up, s.up, inter, nullptr, false, false, &a.up});
  linear(ctx, s.work, rows(s.gate, inter), {&down, s.hidden, c.dim, nullptr, true, false, &a.down});
}

void Step::experts(int layer, const LayerWeights& w) {
  const MoeConfig& m = *c.moe;
  const int experts = m.router.experts, active = m.router.active;
  linear(ctx, s.work, rows(s.normed, c.dim), {&w.router, s.router_logits, experts, nullptr, false, true});
  see("router_logits", layer, s.router_logits, experts);
  const float* bias = w.router_bias ? w.router_bias.f32() : nullptr;
  ctx.pool.for_each(n, 4, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t r = begin; r < end; ++r) {
      route(m.router, s.router_logits + r * experts, bias, s.router_scratch + int64_t{thread} * 2 * experts,
            s.expert_ids + r * active, s.expert_weights + r * active);
    }
  });
  if (tap) tap->integers("router_topk", layer, s.expert_ids, n, active);
  see("router_weights", layer, s.expert_weights, active);
  const ExpertBatch routed{layer,        experts,          active,
                           c.dim,        m.inter,          rows(s.normed, c.dim),
                           s.expert_ids, s.expert_weights, m.scale_input};
  run_experts(ctx, s.work, *s.source, routed, s.experts, s.hidden);
  if (m.shared_inter > 0) gated_mlp(w.shared_gate, w.shared_up, w.shared_down, m.shared_inter);
}

void Step::layer(int layer) {
  const LayerWeights& w = layer_weights(layer);
  rmsnorm(ctx, rows(s.hidden, c.dim), w.attn_norm.f32(), c.norm_eps, s.normed, c.dim);
  if (c.mla)
    mla(layer, w);
  else
    gqa(layer, w);
  if (n == 0) return;
  rmsnorm(ctx, rows(s.hidden, c.dim), w.ffn_norm.f32(), c.norm_eps, s.normed, c.dim);
  if (c.sparse(layer))
    experts(layer, w);
  else
    gated_mlp(w.gate, w.up, w.down, c.inter, layer_adapters(layer));
}

// The rows that come out: normalised, and those wanted as logits through the head.
void Step::finish(const char* hidden_name, const char* logits_name, const float* norm) {
  if (tap || batch.keep_hidden) {  // every row; s.normed is free by now
    rmsnorm(ctx, rows(s.hidden, c.dim), norm, c.norm_eps, s.normed, c.dim);
    see(hidden_name, -1, s.normed, c.dim);
  }
  int out = 0, logits = 0;
  for (const SequenceSlice& slice : batch.sequences) {
    const auto [first, count] = wanted(slice);
    if (count == 0) continue;
    rmsnorm(ctx, {s.hidden + int64_t{narrow ? out : first} * c.dim, c.dim, count, c.dim}, norm, c.norm_eps,
            s.output + int64_t{out} * c.dim, c.dim);
    out += count;
    if (slice.want == Want::all_hidden) continue;
    MINKE_CHECK(logits == out - count, "rows wanted as logits come before rows wanted as hidden states");
    logits += count;
  }
  if (logits == 0) return;
  MINKE_CHECK(logits <= s.limits.logit_rows, "{} rows as logits, {} at most", logits, s.limits.logit_rows);
  head(ctx, weights, s, s.output, logits, s.logits);
  if (tap) tap->floats(logits_name, -1, {s.logits, c.vocab, logits, c.vocab});
}

}  // namespace

void head(const Context& ctx, const Weights& weights, State& state, const float* hidden, int count,
          float* logits) {
  const Mat& w = weights.head;
  linear(ctx, state.work, {hidden, w.cols, count, w.cols}, {&w, logits, w.rows});
}

void forward(const Context& ctx, const Config& config, const Weights& weights, State& state,
             const Batch& batch, Tap* tap) {
  Step step{with_tap(ctx, tap), config, weights, state, batch, tap, static_cast<int>(batch.tokens.size())};
  step.start();
  step.embed();
  step.see("hidden", 0, state.hidden, config.dim);
  for (int layer = 0; layer < config.layers; ++layer) {
    step.layer(layer);
    step.see("hidden", layer + 1, state.hidden, config.dim);
  }
  step.finish("final_norm", "logits", weights.output_norm.f32());
  for (const SequenceSlice& slice : batch.sequences) slice.kv->length = slice.position + slice.count;
}

void forward_mtp(const Context& ctx, const Config& config, const Weights& weights, State& state,
                 const Batch& batch, Tap* tap) {
  const int layer = config.layers, n = static_cast<int>(batch.tokens.size());
  MINKE_CHECK(config.mtp_layers > 0 && batch.given.size() == batch.tokens.size());
  const LayerWeights& w = weights.layers[static_cast<size_t>(layer)];
  Step step{with_tap(ctx, tap), config, weights, state, batch, tap, n};
  step.start();
  step.embed();
  ctx.pool.for_each(n, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* pair = state.pair + r * 2 * config.dim;
      ctx.kernels.rmsnorm(state.hidden + r * config.dim, w.mtp_embed_norm.f32(), config.norm_eps, config.dim,
                          pair);
      ctx.kernels.rmsnorm(batch.given[static_cast<size_t>(r)].hidden, w.mtp_hidden_norm.f32(),
                          config.norm_eps, config.dim, pair + config.dim);
    }
  });
  linear(step.ctx, state.work, step.rows(state.pair, 2 * config.dim),
         {&w.mtp_proj, state.hidden, config.dim});
  step.layer(layer);
  step.see("mtp_hidden", -1, state.hidden, config.dim);
  step.finish("mtp_norm", "mtp_logits", w.mtp_norm.f32());
}

}  // namespace minke
