#include "train/buffers.h"

#include <algorithm>

#include "base/error.h"
#include "ops/cross_entropy.h"
#include "ops/indexer_training.h"
#include "ops/rope.h"

namespace minke {
namespace {

int key_width(const Config& c) { return c.mla ? c.mla->nope + c.mla->rope : c.head_dim; }
int value_width(const Config& c) { return c.mla ? c.mla->v : c.head_dim; }
int kv_heads(const Config& c) { return c.mla ? c.heads : c.kv_heads; }

// How wide the gated MLP of a layer is: the dense one's, or that of its shared experts.
int mlp_width(const Config& c, bool sparse) { return sparse ? c.moe->shared_inter : c.inter; }

// f(pointer, count) for each buffer; dense, sparse: which kinds of layer it must serve.
template <typename F>
void visit_layer(const Config& c, const TrainLimits& l, LayerKept& k, bool dense, bool sparse, const F& f) {
  const int64_t rows = l.rows;
  f(k.attn_in, rows * c.dim);
  f(k.q, rows * c.heads * key_width(c));
  f(k.k, rows * kv_heads(c) * key_width(c));
  f(k.v, rows * kv_heads(c) * value_width(c));
  f(k.attended, rows * c.heads * value_width(c));
  if (c.mla) {
    f(k.q_down, rows * c.mla->q_lora);
    f(k.q_latent, rows * c.mla->q_lora);
    f(k.kv_down, rows * (c.mla->kv_lora + c.mla->rope));
    f(k.latent, rows * c.mla->kv_lora);
  }
  if (c.indexer && l.indexer) {
    f(k.index_q, rows * c.indexer->heads * c.indexer->width);
    f(k.index_down, rows * c.indexer->width);
    f(k.index_k, rows * c.indexer->width);
    f(k.index_w, rows * c.indexer->heads);
    f(k.chosen, rows * c.indexer->topk);
    f(k.chosen_counts, rows);
  }
  f(k.middle, rows * c.dim);
  f(k.ffn_in, rows * c.dim);
  const int inter = std::max(dense ? mlp_width(c, false) : 0, sparse ? mlp_width(c, true) : 0);
  f(k.gate, rows * inter);
  f(k.up, rows * inter);
  if (!sparse) return;
  const int64_t slots = rows * c.moe->router.active;
  f(k.router_logits, rows * c.moe->router.experts);
  f(k.router_weights, slots);
  f(k.expert_ids, slots);
  f(k.expert_order, slots);
  f(k.expert_starts, int64_t{c.moe->router.experts} + 1);
  const int64_t here = l.expert_ranks > 1 ? 0 : slots;
  f(k.expert_gate, here * c.moe->inter);
  f(k.expert_up, here * c.moe->inter);
}

template <typename F>
void visit_attention_scratch(const Config& c, const TrainLimits& l, TrainState& s, const F& f) {
  const int64_t rows = l.rows;
  f(s.dq, rows * c.heads * key_width(c));
  f(s.dk, rows * kv_heads(c) * key_width(c));
  f(s.dv, rows * kv_heads(c) * value_width(c));
  f(s.dattended, rows * c.heads * value_width(c));
  if (c.mla) {
    f(s.dq_down, rows * c.mla->q_lora);
    f(s.dq_latent, rows * c.mla->q_lora);
    f(s.dlatent, rows * c.mla->kv_lora);
    f(s.dkv_down, rows * (c.mla->kv_lora + c.mla->rope));
  }
  if (c.indexer && l.indexer) {
    f(s.dindex_q, rows * c.indexer->heads * c.indexer->width);
    f(s.dindex_k, rows * c.indexer->width);
    f(s.dindex_w, rows * c.indexer->heads);
    f(s.index_scores, rows * l.longest);
    f(s.attention_mass, rows * l.longest);
  }
  f(s.adapted, rows * l.adapter_rank);
  f(s.dadapted, rows * l.adapter_rank);
}

template <typename F>
void visit_ffn_scratch(const Config& c, const TrainLimits& l, TrainState& s, const F& f) {
  const int64_t rows = l.rows, inter = std::max(c.inter, c.moe ? c.moe->shared_inter : 0);
  f(s.inner, rows * inter);
  f(s.dinner, rows * inter);
  f(s.dgate, rows * inter);
  if (!c.moe) return;
  const int64_t slots = rows * c.moe->router.active;
  f(s.experts.rows, slots * c.dim);
  f(s.experts.back, slots * c.dim);
  const int64_t here = l.expert_ranks > 1 ? 0 : slots;
  for (float** one : {&s.experts.inner, &s.experts.dgate, &s.experts.dup}) f(*one, here * c.moe->inter);
  f(s.drouter, slots);
  f(s.drouter_logits, rows * c.moe->router.experts);
  f(s.router_scratch, int64_t{l.threads} * 2 * c.moe->router.experts);
}

template <typename F>
void visit_mtp(const Config& c, const TrainLimits& l, TrainState& s, const F& f) {
  const int64_t rows = l.rows;
  for (float** wide : {&s.pair, &s.dpair}) f(*wide, rows * 2 * c.dim);
  for (float** one : {&s.mtp_embedding, &s.mtp_given, &s.mtp_output, &s.mtp_final}) f(*one, rows * c.dim);
  for (float** angles : {&s.mtp_cos, &s.mtp_sin}) f(*angles, rows * c.rope.dims / 2);
  for (int32_t** list : {&s.mtp_tokens, &s.mtp_targets, &s.mtp_rows}) f(*list, rows);
}

int64_t thread_scratch(const Config& c, const TrainLimits& l) {
  int64_t bytes = document_attention_scratch(key_width(c), value_width(c), l.longest);
  if (c.indexer && l.indexer) bytes = std::max(bytes, indexer_training_scratch(c.indexer->width, l.longest));
  return (bytes + 4095) / 4096 * 4096;  // threads do not share pages
}

template <typename F>
void for_each_buffer(const Config& c, const TrainLimits& l, TrainState& s, const F& f) {
  const int64_t rows = l.rows;
  s.layers.resize(static_cast<size_t>(c.layers + (l.mtp ? 1 : 0)));
  bool any_dense = false, any_sparse = false;
  for (size_t i = 0; i < s.layers.size(); ++i) {
    const bool sparse = c.sparse(static_cast<int>(i));
    (sparse ? any_sparse : any_dense) = true;
    if (!l.recompute) visit_layer(c, l, s.layers[i], !sparse, sparse, f);
    f(s.layers[i].input, rows * c.dim);
  }
  if (l.recompute) visit_layer(c, l, s.again, any_dense, any_sparse, f);
  for (float** one : {&s.output, &s.final, &s.dfinal, &s.dhidden, &s.dnormed}) f(*one, rows * c.dim);
  for (float** angles : {&s.cos, &s.sin}) f(*angles, rows * c.rope.dims / 2);
  f(s.positions, rows);
  visit_attention_scratch(c, l, s, f);
  visit_ffn_scratch(c, l, s, f);
  f(s.logits, int64_t{std::min(kLossRows, l.rows)} * c.vocab);
  if (l.reference) {
    f(s.reference, rows * c.dim);
    f(s.reference_logits, int64_t{std::min(kLossRows, l.rows)} * c.vocab);
  }
  if (l.mtp) visit_mtp(c, l, s, f);
  f(s.work.scratch, thread_scratch(c, l) * l.threads);
}

constexpr int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

template <typename T>
int64_t size_of(T* const&, int64_t count) {
  return aligned(count * static_cast<int64_t>(sizeof(T)));
}

}  // namespace

void require_trainable(const Config& config) {
  if (config.arch == "llama4")
    throw Error("is not trained", config.arch, "Llama, Qwen2 and DeepSeek models are");
}

int64_t train_state_bytes(const Config& config, const TrainLimits& limits) {
  TrainState none;
  int64_t bytes = 0;
  for_each_buffer(config, limits, none, [&](auto*& p, int64_t count) { bytes += size_of(p, count); });
  return bytes;
}

int64_t expert_rows_bytes(const Config& config, const TrainLimits& limits) {
  if (!config.moe || limits.expert_ranks == 1) return 0;
  int64_t layers = 0;  // that keep their rows
  for (int i = 0; i < config.layers + (limits.mtp ? 1 : 0); ++i) layers += config.sparse(i) ? 1 : 0;
  if (limits.recompute) layers = std::min<int64_t>(layers, 1);
  const int64_t slots = int64_t{limits.rows} * config.moe->router.active, dim = config.dim,
                inter = config.moe->inter;
  const int64_t kept = dim + 2 * inter, space = 2 * dim + 3 * inter + 3;
  return slots * (layers * kept + space) * static_cast<int64_t>(sizeof(float));
}

TrainState make_train_state(const Config& config, const TrainLimits& limits) {
  require_trainable(config);
  MINKE_CHECK(limits.rows > 0 && limits.longest > 0);
  TrainState s;
  s.limits = limits;
  s.memory = Memory(train_state_bytes(config, limits), "activations of training");
  std::byte* next = s.memory.data();
  for_each_buffer(config, limits, s, [&](auto*& p, int64_t count) {
    if (count == 0) return;
    p = reinterpret_cast<std::remove_reference_t<decltype(p)>>(next);
    next += size_of(p, count);
  });
  s.work.scratch_bytes = thread_scratch(config, limits);
  s.frequencies = rope_frequencies(config.rope);
  s.rope_magnitude = static_cast<float>(rope_magnitude(config.rope));
  return s;
}

}  // namespace minke
