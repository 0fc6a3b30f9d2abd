// A layer's second half in training, and the layer as a whole.

#include <algorithm>

#include "ops/router_backward.h"
#include "ops/rows_backward.h"
#include "train/layer.h"

namespace minke {

void LayerPass::forward(float* out, int64_t* loads) {
  attention();
  rmsnorm(ctx, rows(k.middle, c.dim), w.ffn_norm.f32(), c.norm_eps, k.ffn_in, c.dim);
  ctx.pool.for_each(int64_t{n} * c.dim, 16384, [&](int64_t begin, int64_t end, int) {
    std::copy(k.middle + begin, k.middle + end, out + begin);
  });
  ffn(out, loads);
}

void LayerPass::backward(Losses& losses) {
  if (objective.model_learns()) {
    ffn_backward(losses);
    rmsnorm_backward(ctx, rows(k.middle, c.dim), w.ffn_norm.f32(), c.norm_eps, rows(s.dnormed, c.dim),
                     s.dhidden, c.dim, data(g.ffn_norm));
  }
  attention_backward(losses);
}

// Adds to out [n][D].
void LayerPass::ffn(float* out, int64_t* loads) {
  if (!c.sparse(layer)) return gated_mlp(w.gate, w.up, w.down, of_layer(model.adapters), out);
  experts(out, loads);
  if (c.moe->shared_inter > 0) gated_mlp(w.shared_gate, w.shared_up, w.shared_down, {}, out);
}

void LayerPass::gated_mlp(const Mat& gate, const Mat& up, const Mat& down, const LayerAdapters& a,
                          float* out) {
  project_to(k.ffn_in, gate, k.gate);
  project_to(k.ffn_in, up, k.up);
  adapt_to(k.ffn_in, a.gate, k.gate);
  adapt_to(k.ffn_in, a.up, k.up);
  silu_mul(ctx, k.gate, k.up, n, gate.rows, s.inner);
  project_to(s.inner, down, out, true);
  adapt_to(s.inner, a.down, out);
}

TrainedExperts LayerPass::routed() const {
  const MoeConfig& m = *c.moe;
  return {m.router.experts,           m.router.active, m.inter,         w.experts,     k.expert_ids,
          k.router_weights,           k.expert_order,  k.expert_starts, k.expert_gate, k.expert_up,
          over.comm ? &over : nullptr};
}

void LayerPass::experts(float* out, int64_t* loads) {
  const RouterConfig& router = c.moe->router;
  const int all = router.experts, active = router.active;
  project_to(k.ffn_in, w.router, k.router_logits, false, true);
  const float* bias = w.router_bias ? w.router_bias.f32() : nullptr;
  ctx.pool.for_each(n, 8, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t r = begin; r < end; ++r)
      route(router, k.router_logits + r * all, bias, s.router_scratch + int64_t{thread} * 2 * all,
            k.expert_ids + r * active, k.router_weights + r * active);
  });
  train_experts(ctx, precision, routed(), rows(k.ffn_in, c.dim), s.experts, out);
  for (int e = 0; loads && e < all; ++e) loads[e] += k.expert_starts[e + 1] - k.expert_starts[e];
}

// From s.dhidden, the gradient by what the layer gave, to s.dnormed, that by k.ffn_in.
void LayerPass::ffn_backward(Losses& losses) {
  if (!c.sparse(layer))
    return gated_mlp_backward({w.gate, w.up, w.down}, {g.gate, g.up, g.down}, of_layer(model.adapters),
                              of_layer(model.adapter_gradients), false);
  losses.balance += experts_backward();
  if (c.moe->shared_inter > 0)
    gated_mlp_backward({w.shared_gate, w.shared_up, w.shared_down},
                       {g.shared_gate, g.shared_up, g.shared_down}, {}, {}, true);
}

void LayerPass::gated_mlp_backward(const Mat (&weights)[3], const Mat (&gradients)[3], const LayerAdapters& a,
                                   const LayerAdapters& to, bool add) {
  const int inter = weights[0].rows;
  silu_mul(ctx, k.gate, k.up, n, inter, s.inner);
  project_back(s.inner, weights[2], gradients[2], s.dhidden, s.dinner, false);
  adapt_back(s.inner, a.down, to.down, s.dhidden, s.dinner);
  silu_mul_backward(ctx, k.gate, k.up, s.dinner, n, inter, s.dgate, s.dinner);
  project_back(k.ffn_in, weights[0], gradients[0], s.dgate, s.dnormed, add);
  project_back(k.ffn_in, weights[1], gradients[1], s.dinner, s.dnormed, true);
  adapt_back(k.ffn_in, a.gate, to.gate, s.dgate, s.dnormed);
  adapt_back(k.ffn_in, a.up, to.up, s.dinner, s.dnormed);
}

// Sets s.dnormed; returns the balance loss.
double LayerPass::experts_backward() {
  const RouterConfig& router = c.moe->router;
  const int all = router.experts, active = router.active;
  std::vector<ExpertGradient> gradients;
  for (const Expert& e : g.experts) gradients.push_back({data(e.gate), data(e.up), data(e.down)});
  ctx.pool.for_each(int64_t{n} * c.dim, 16384, [&](int64_t begin, int64_t end, int) {
    std::fill(s.dnormed + begin, s.dnormed + end, 0.0f);
  });
  train_experts_backward(ctx, precision, routed(), rows(k.ffn_in, c.dim), s.dhidden, s.experts, s.dnormed,
                         s.drouter, gradients);
  ctx.pool.for_each(n, 8, [&](int64_t begin, int64_t end, int thread) {
    std::fill(s.drouter_logits + begin * all, s.drouter_logits + end * all, 0.0f);
    for (int64_t r = begin; r < end; ++r)
      route_backward(router, k.router_logits + r * all, k.expert_ids + r * active, s.drouter + r * active,
                     s.router_scratch + int64_t{thread} * 2 * all, s.drouter_logits + r * all);
  });
  double loss = 0;
  if (objective.balance > 0) {
    const double mean = 1.0 / static_cast<double>(objective.sequences);
    for (const Document& sequence : rows_of.sequences)
      loss += mean * balance_loss(router, k.router_logits + int64_t{sequence.first} * all, sequence.count,
                                  objective.balance, static_cast<float>(mean),
                                  s.drouter_logits + int64_t{sequence.first} * all);
  }
  project_back(k.ffn_in, w.router, g.router, s.drouter_logits, s.dnormed, true, true);
  return loss;
}

}  // namespace minke
