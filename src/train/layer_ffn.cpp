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
  if (c.sparse(layer)) return experts(out, loads);
  Pending none;
  const LayerAdapters& a = of_layer(model.adapters);
  gated_mlp_in(w.gate, w.up, a, none);
  gated_mlp_out(w.down, a, out, none);
}

void LayerPass::gated_mlp_in(const Mat& gate, const Mat& up, const LayerAdapters& a, Pending& travel) {
  project_to(k.ffn_in, gate, k.gate);
  travel.advance();
  project_to(k.ffn_in, up, k.up);
  adapt_to(k.ffn_in, a.gate, k.gate);
  adapt_to(k.ffn_in, a.up, k.up);
  travel.advance();
}

void LayerPass::gated_mlp_out(const Mat& down, const LayerAdapters& a, float* out, Pending& travel) {
  silu_mul(ctx, k.gate, k.up, n, down.cols, s.inner);
  travel.advance();
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
  Meanwhile shared;
  if (c.moe->shared_inter > 0)
    shared = {[&](Pending& travel) { gated_mlp_in(w.shared_gate, w.shared_up, {}, travel); },
              [&](Pending& travel) { gated_mlp_out(w.shared_down, {}, out, travel); }};
  train_experts(ctx, precision, routed(), rows(k.ffn_in, c.dim), s.experts, shared, out);
  for (int e = 0; loads && e < all; ++e) loads[e] += k.expert_starts[e + 1] - k.expert_starts[e];
}

// From s.dhidden, the gradient by what the layer gave, to s.dnormed, that by k.ffn_in.
void LayerPass::ffn_backward(Losses& losses) {
  if (c.sparse(layer)) {
    losses.balance += experts_backward();
    return;
  }
  Pending none;
  const LayerAdapters &a = of_layer(model.adapters), &to = of_layer(model.adapter_gradients);
  gated_mlp_out_backward(w.down, g.down, a, to, none);
  gated_mlp_in_backward({w.gate, w.up}, {g.gate, g.up}, a, to, false, none);
}

// Of gated_mlp_out: to s.dgate and s.dinner, the gradients by the gate's and the other half.
void LayerPass::gated_mlp_out_backward(const Mat& down, const Mat& gradient, const LayerAdapters& a,
                                       const LayerAdapters& to, Pending& travel) {
  silu_mul(ctx, k.gate, k.up, n, down.cols, s.inner);
  project_back(s.inner, down, gradient, s.dhidden, s.dinner, false);
  adapt_back(s.inner, a.down, to.down, s.dhidden, s.dinner);
  travel.advance();
  silu_mul_backward(ctx, k.gate, k.up, s.dinner, n, down.cols, s.dgate, s.dinner);
  travel.advance();
}

void LayerPass::gated_mlp_in_backward(const Mat (&weights)[2], const Mat (&gradients)[2],
                                      const LayerAdapters& a, const LayerAdapters& to, bool add,
                                      Pending& travel) {
  project_back(k.ffn_in, weights[0], gradients[0], s.dgate, s.dnormed, add);
  travel.advance();
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
  Meanwhile shared;
  if (c.moe->shared_inter > 0)
    shared = {[&](Pending& travel) { gated_mlp_out_backward(w.shared_down, g.shared_down, {}, {}, travel); },
              [&](Pending& travel) {
                gated_mlp_in_backward({w.shared_gate, w.shared_up}, {g.shared_gate, g.shared_up}, {}, {},
                                      true, travel);
              }};
  train_experts_backward(ctx, precision, routed(), rows(k.ffn_in, c.dim), s.dhidden, s.experts, shared,
                         s.dnormed, s.drouter, gradients);
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
