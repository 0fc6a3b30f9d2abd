#pragma once
// The one list of weights: load, save, counting and planning all walk it.

namespace minke {
namespace detail {

template <typename F>
void visit_attention(const Config& c, int layer, LayerWeights& w, const F& f) {
  const auto vector = [&](Role role, Mat& m, int n) { f(WeightSlot{role, layer, -1, 1, n, true}, m); };
  const auto matrix = [&](Role role, Mat& m, int rows, int cols) {
    f(WeightSlot{role, layer, -1, rows, cols, false}, m);
  };
  vector(Role::attn_norm, w.attn_norm, c.dim);
  if (!c.mla) {
    const int q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    matrix(Role::wq, w.wq, q, c.dim);
    matrix(Role::wk, w.wk, kv, c.dim);
    matrix(Role::wv, w.wv, kv, c.dim);
    if (c.qkv_bias) {
      vector(Role::bq, w.bq, q);
      vector(Role::bk, w.bk, kv);
      vector(Role::bv, w.bv, kv);
    }
    matrix(Role::wo, w.wo, c.dim, q);
    if (c.o_bias) vector(Role::bo, w.bo, c.dim);
    return;
  }
  const MlaConfig& m = *c.mla;
  const int q = c.heads * (m.nope + m.rope);
  if (m.q_lora > 0) {
    matrix(Role::wq_a, w.wq_a, m.q_lora, c.dim);
    vector(Role::q_a_norm, w.q_a_norm, m.q_lora);
    matrix(Role::wq_b, w.wq_b, q, m.q_lora);
  } else {
    matrix(Role::wq, w.wq, q, c.dim);
  }
  matrix(Role::wkv_a, w.wkv_a, m.kv_lora + m.rope, c.dim);
  vector(Role::kv_a_norm, w.kv_a_norm, m.kv_lora);
  matrix(Role::k_b, w.k_b, c.heads * m.kv_lora, m.nope);
  matrix(Role::v_b, w.v_b, c.heads * m.v, m.kv_lora);
  matrix(Role::wo, w.wo, c.dim, c.heads * m.v);
  if (c.indexer) {
    matrix(Role::index_q, w.index_q, c.indexer->heads * c.indexer->width, m.q_lora);
    matrix(Role::index_k, w.index_k, c.indexer->width, c.dim);
    vector(Role::index_k_norm, w.index_k_norm, c.indexer->width);
    vector(Role::index_k_bias, w.index_k_bias, c.indexer->width);
    matrix(Role::index_weights, w.index_weights, c.indexer->heads, c.dim);
  }
}

template <typename F>
void visit_ffn(const Config& c, int layer, LayerWeights& w, const F& f) {
  const auto matrix = [&](Role role, Mat& m, int rows, int cols, int expert = -1) {
    f(WeightSlot{role, layer, expert, rows, cols, false}, m);
  };
  f(WeightSlot{Role::ffn_norm, layer, -1, 1, c.dim, true}, w.ffn_norm);
  if (!c.sparse(layer)) {
    matrix(Role::gate, w.gate, c.inter, c.dim);
    matrix(Role::up, w.up, c.inter, c.dim);
    matrix(Role::down, w.down, c.dim, c.inter);
    return;
  }
  const MoeConfig& m = *c.moe;
  matrix(Role::router, w.router, m.router.experts, c.dim);
  if (m.router_bias) f(WeightSlot{Role::router_bias, layer, -1, 1, m.router.experts, true}, w.router_bias);
  if (m.shared_inter > 0) {
    matrix(Role::shared_gate, w.shared_gate, m.shared_inter, c.dim);
    matrix(Role::shared_up, w.shared_up, m.shared_inter, c.dim);
    matrix(Role::shared_down, w.shared_down, c.dim, m.shared_inter);
  }
  w.experts.resize(static_cast<size_t>(m.router.experts));
  for (int e = 0; e < m.router.experts; ++e) {
    Expert& expert = w.experts[static_cast<size_t>(e)];
    matrix(Role::expert_gate, expert.gate, m.inter, c.dim, e);
    matrix(Role::expert_up, expert.up, m.inter, c.dim, e);
    matrix(Role::expert_down, expert.down, c.dim, m.inter, e);
  }
}

// layer_at(i): the weights of layer i.
template <typename Layer, typename F>
void visit_weights(const Config& c, Weights& w, const Layer& layer_at, const F& f) {
  f(WeightSlot{Role::embed, -1, -1, c.vocab, c.dim, false}, w.embed);
  for (int layer = 0; layer < c.layers + c.mtp_layers; ++layer) {
    LayerWeights& l = layer_at(layer);
    if (layer >= c.layers) {
      f(WeightSlot{Role::mtp_embed_norm, layer, -1, 1, c.dim, true}, l.mtp_embed_norm);
      f(WeightSlot{Role::mtp_hidden_norm, layer, -1, 1, c.dim, true}, l.mtp_hidden_norm);
      f(WeightSlot{Role::mtp_proj, layer, -1, c.dim, 2 * c.dim, false}, l.mtp_proj);
    }
    visit_attention(c, layer, l, f);
    visit_ffn(c, layer, l, f);
    if (layer >= c.layers) f(WeightSlot{Role::mtp_norm, layer, -1, 1, c.dim, true}, l.mtp_norm);
  }
  f(WeightSlot{Role::output_norm, -1, -1, 1, c.dim, true}, w.output_norm);
  if (c.tied)
    w.head = w.embed;
  else
    f(WeightSlot{Role::head, -1, -1, c.vocab, c.dim, false}, w.head);
}

}  // namespace detail

template <typename F>
void for_each_weight(const Config& c, Weights& w, F&& f) {
  w.layers.resize(static_cast<size_t>(c.layers + c.mtp_layers));
  detail::visit_weights(
      c, w, [&](int layer) -> LayerWeights& { return w.layers[static_cast<size_t>(layer)]; }, f);
}

// One layer serves for all: a config from outside may speak of thousands, and no file of any of them.
template <typename F>
void for_each_weight(const Config& config, F&& f) {
  Weights none;
  LayerWeights any;
  detail::visit_weights(
      config, none, [&](int) -> LayerWeights& { return any; },
      [&](const WeightSlot& slot, Mat&) { f(slot); });
}

}  // namespace minke
