#include "model/state.h"

#include <algorithm>

#include "base/error.h"
#include "ops/indexer.h"
#include "ops/linear.h"

namespace minke {
namespace {

// The widest input of any product of the step, and how many rows it has.
int64_t operand_space(const Config& c, const Limits& l) {
  int widest = std::max({c.dim, c.inter, l.adapter_rank});
  if (c.mla)
    widest = std::max({widest, c.heads * c.mla->v, c.mla->q_lora});
  else
    widest = std::max(widest, c.heads * c.head_dim);
  if (c.mtp_layers > 0) widest = std::max(widest, 2 * c.dim);
  int64_t bytes = 0;
  if (c.moe || c.indexer)
    bytes = operand_bytes(Grain::f32, l.rows, c.dim);  // routers and the indexer stay f32
  if (c.moe) {
    widest = std::max(widest, c.moe->shared_inter);
    bytes = std::max(bytes, expert_operand_bytes(l.rows, c.moe->router.active, c.dim, c.moe->inter, l.wide));
  }
  if (c.mla && l.decompress)
    bytes = std::max(bytes, decompress_operand_bytes(latent_shape(c, kv_layout(c, l.kv)[0].latent), l.wide));
  return std::max(bytes, operand_bytes_at_most(l.rows, widest, l.wide));
}

int64_t thread_scratch(const Config& c, const Limits& l) {
  const int head_cols = c.mla ? std::max(c.mla->nope, c.mla->kv_lora) : 0;
  const int rows = c.moe ? std::max(l.rows, 1) : l.rows;
  int64_t bytes = linear_scratch_bytes(rows, head_cols, l.wide);
  if (c.mla) {
    const KvRow row = kv_layout(c, l.kv)[0];
    bytes = std::max(bytes, attention_scratch_bytes(c.mla->kv_lora + c.mla->rope, c.mla->kv_lora,
                                                    c.indexer ? c.indexer->topk : 0, row.bytes));
    if (l.decompress) bytes = std::max(bytes, decompress_scratch_bytes(latent_shape(c, row.latent)));
  } else {
    bytes = std::max(bytes, attention_scratch_bytes(c.head_dim, c.head_dim, 0, 0));
  }
  if (c.indexer) bytes = std::max(bytes, indexer_scratch_bytes(c.indexer->width, l.context));
  return (bytes + 4095) / 4096 * 4096;  // threads do not share pages
}

int64_t partial_units(const Config& c, const Limits& l) {
  return attention_partials(c.heads, c.mla ? 1 : c.kv_heads, l.context, l.sequences, l.threads);
}

// Of one layer.
int64_t k_nope_bytes(const Config& c, Format format) {
  return int64_t{c.heads} * c.mla->nope * row_bytes(format, c.mla->kv_lora);
}

template <typename F>
void attention_buffers(const Config& c, const Limits& l, State& s, const F& f) {
  const int64_t rows = l.rows;
  if (!c.mla) {
    f("q", s.q, rows * c.heads * c.head_dim);
    f("k", s.k, rows * c.kv_heads * c.head_dim);
    f("v", s.v, rows * c.kv_heads * c.head_dim);
    const bool smooth = c.qkv_bias && kv_bytes(l.kv.rows) == 1;
    f("key_offset", s.key_offset, smooth ? c.kv_heads * c.head_dim : 0);
    f("key_scale", s.key_scale, smooth ? c.kv_heads * c.head_dim : 0);
    f("attended", s.attended, rows * c.heads * c.head_dim);
    return;
  }
  const MlaConfig& m = *c.mla;
  f("q", s.q, rows * c.heads * (m.nope + m.rope));
  f("attended", s.attended, rows * c.heads * m.v);
  f("q_latent", s.q_latent, rows * m.q_lora);
  f("kv_latent", s.kv_latent, rows * (m.kv_lora + m.rope));
  f("q_absorbed", s.q_absorbed, rows * c.heads * (m.kv_lora + m.rope));
  f("attended_latent", s.attended_latent, rows * c.heads * m.kv_lora);
  if (l.decompress) {
    f("k_nope", s.k_nope, int64_t{c.layers + c.mtp_layers} * k_nope_bytes(c, l.k_nope_format));
    f("latents", s.decompressed.latents, int64_t{kDecompressed} * (m.kv_lora + m.rope));
    f("peaks", s.decompressed.peak, rows * c.heads);
    f("masses", s.decompressed.mass, rows * c.heads);
  }
  if (!c.indexer) return;
  f("index_q", s.index_q, rows * c.indexer->heads * c.indexer->width);
  f("index_k", s.index_k, rows * c.indexer->width);
  f("index_weights", s.index_weights, rows * c.indexer->heads);
  f("index_scores", s.index_scores, l.inspect ? rows * l.context : 0);
  f("chosen", s.chosen, rows * c.indexer->topk);
  f("chosen_counts", s.chosen_counts, rows);
}

template <typename F>
void ffn_buffers(const Config& c, const Limits& l, State& s, const F& f) {
  const int64_t rows = l.rows, inter = std::max(c.inter, c.moe ? c.moe->shared_inter : 0);
  f("gate", s.gate, rows * inter);
  f("up", s.up, rows * inter);
  if (!c.moe) return;
  const int64_t slots = rows * c.moe->router.active;
  f("router_logits", s.router_logits, rows * c.moe->router.experts);
  f("router_scratch", s.router_scratch, int64_t{l.threads} * 2 * c.moe->router.experts);
  f("expert_ids", s.expert_ids, slots);
  f("expert_weights", s.expert_weights, slots);
  f("expert_gate", s.experts.gate, slots * c.moe->inter);
  f("expert_up", s.experts.up, slots * c.moe->inter);
  f("expert_order", s.experts.order, slots);
  f("expert_tokens", s.experts.tokens, slots);
  f("expert_factors", s.experts.factors, slots);
  f("expert_starts", s.experts.starts, int64_t{c.moe->router.experts} + 1);
  f("expert_used", s.experts.used, int64_t{c.moe->router.experts});
}

}  // namespace

template <typename F>
void for_each_buffer(const Config& c, const Limits& l, State& s, F&& f) {
  const int64_t rows = l.rows;
  f("hidden", s.hidden, rows * c.dim);
  f("normed", s.normed, rows * c.dim);
  attention_buffers(c, l, s, f);
  ffn_buffers(c, l, s, f);
  f("pair", s.pair, c.mtp_layers > 0 ? rows * 2 * c.dim : 0);
  f("cos", s.cos, rows * c.rope.dims / 2);
  f("sin", s.sin, rows * c.rope.dims / 2);
  f("positions", s.positions, rows);
  f("output", s.output, rows * c.dim);
  f("logits", s.logits, int64_t{l.logit_rows} * c.vocab);
  f("operands", s.work.operands, operand_space(c, l));
  f("scratch", s.work.scratch, thread_scratch(c, l) * l.threads);
  f("adapted", s.work.adapted, rows * kMostAdapted * l.adapter_rank);
  const int64_t value_width = c.mla ? c.mla->kv_lora : c.head_dim;
  f("partials", s.work.partials, partial_units(c, l) * kMaxQueries * (value_width + 2));
}

Config as_run(const Config& config, const Limits& limits) {
  Config c = config;
  c.mtp_layers = limits.mtp ? std::min(c.mtp_layers, 1) : 0;
  return c;
}

int64_t state_bytes(const Config& config, const Limits& limits) {
  State none;
  int64_t total = 0;
  for_each_buffer(config, limits, none, [&](const char*, auto*& pointer, int64_t count) {
    total += (count * static_cast<int64_t>(sizeof *pointer) + 63) / 64 * 64;
  });
  return total;
}

State make_state(const Config& config, const Limits& limits, KvPool& kv, ExpertSource& source) {
  State s;
  s.memory = Memory(state_bytes(config, limits), "the working memory of a step");
  std::byte* at = s.memory.data();
  for_each_buffer(config, limits, s, [&](const char*, auto*& pointer, int64_t count) {
    pointer = count > 0 ? reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(at) : nullptr;
    at += (count * static_cast<int64_t>(sizeof *pointer) + 63) / 64 * 64;
  });
  s.work.operands_bytes = operand_space(config, limits);
  s.work.scratch_bytes = thread_scratch(config, limits);
  s.work.adapted_width = kMostAdapted * limits.adapter_rank;
  s.work.partial_units = static_cast<int>(partial_units(config, limits));
  s.work.partial_width = config.mla ? config.mla->kv_lora : config.head_dim;
  s.frequencies = rope_frequencies(config.rope);
  s.rope_magnitude = static_cast<float>(rope_magnitude(config.rope));
  const auto rows = static_cast<size_t>(limits.rows);
  s.runs.reserve(rows);
  s.decompressed_runs.reserve(rows);
  s.absorbed_runs.reserve(rows);
  if (s.key_offset) s.mean_turns = mean_turns(s.frequencies, s.rope_magnitude);
  s.limits = limits;
  s.kv = &kv;
  s.source = &source;
  return s;
}

LatentShape latent_shape(const Config& c, const KvPart& latent) {
  return {c.heads, c.mla->nope, c.mla->rope, c.mla->v, c.mla->kv_lora, latent};
}

Mat k_nope_of(const Config& c, const State& s, int layer) {
  const Format format = s.limits.k_nope_format;
  return {s.k_nope + layer * k_nope_bytes(c, format), nullptr, format, c.heads * c.mla->nope, c.mla->kv_lora,
          row_bytes(format, c.mla->kv_lora)};
}

KvLayout kv_layout(const Config& c, const KvFormats& formats) {
  KvRow row;
  if (c.mla) {
    row.latent = {formats.rows, c.mla->kv_lora + c.mla->rope, 0};
    if (c.indexer) row.index = {formats.index, c.indexer->width, 0};
  } else {
    row.key = row.value = {formats.rows, c.kv_heads * c.head_dim, 0, c.kv_heads};
  }
  return KvLayout(static_cast<size_t>(c.layers + c.mtp_layers), lay_out(row));
}

}  // namespace minke
