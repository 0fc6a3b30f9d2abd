#include "ops/expert_training.h"

#include <algorithm>

#include "ops/rows_backward.h"

namespace minke {
namespace {

void sort_by_expert(const TrainedExperts& e, int tokens) {
  const int slots = tokens * e.active;
  std::fill_n(e.starts, e.experts + 1, 0);
  for (int i = 0; i < slots; ++i) ++e.starts[e.ids[i] + 1];
  for (int x = 0; x < e.experts; ++x) e.starts[x + 1] += e.starts[x];
  for (int i = 0; i < slots; ++i) e.order[i] = e.starts[e.ids[i]]++;
  for (int x = e.experts; x > 0; --x) e.starts[x] = e.starts[x - 1];
  e.starts[0] = 0;
}

// to[slot] = from[token] for every choice.
void gather(const Context& ctx, const TrainedExperts& e, const float* from, int64_t stride, int tokens,
            int dim, float* to) {
  ctx.pool.for_each(tokens, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      for (int k = 0; k < e.active; ++k)
        std::copy_n(from + t * stride, dim, to + int64_t{e.order[t * e.active + k]} * dim);
  });
}

// to[token] += sum over its choices of from[slot], times the router's weight where weighted.
void scatter(const Context& ctx, const TrainedExperts& e, const float* from, int tokens, int dim,
             bool weighted, float* to) {
  ctx.pool.for_each(tokens, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * e.active; i < end * e.active; ++i)
      ctx.kernels.scale_add(to + i / e.active * dim, from + int64_t{e.order[i]} * dim,
                            weighted ? e.router_weights[i] : 1.0f, dim);
  });
}

// Of one expert, rows of a buffer [S][cols].
struct Slots {
  int first, count;
  Rows rows(const float* data, int cols) const { return {data + int64_t{first} * cols, cols, count, cols}; }
  float* at(float* data, int cols) const { return data + int64_t{first} * cols; }
};

template <typename F>
void for_each_expert(const TrainedExperts& e, const F& f) {
  for (int x = 0; x < e.experts; ++x)
    if (const int count = e.starts[x + 1] - e.starts[x]; count > 0)
      f(x, e.weights[static_cast<size_t>(x)], Slots{e.starts[x], count});
}

void activate(const Context& ctx, const TrainedExperts& e, int64_t slots, float* inner) {
  ctx.pool.for_each(slots * e.inter, 16384, [&](int64_t begin, int64_t end, int) {
    ctx.kernels.silu_mul(e.gate + begin, e.up + begin, static_cast<int>(end - begin), inner + begin);
  });
}

}  // namespace

void train_experts(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                   const ExpertScratch& s, float* out) {
  sort_by_expert(e, x.count);
  gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
  for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
    const Rows rows = slots.rows(s.rows, x.cols);
    project(ctx, precision, rows, w.gate, slots.at(e.gate, e.inter), e.inter);
    project(ctx, precision, rows, w.up, slots.at(e.up, e.inter), e.inter);
  });
  activate(ctx, e, int64_t{x.count} * e.active, s.inner);
  for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
    project(ctx, precision, slots.rows(s.inner, e.inter), w.down, slots.at(s.back, x.cols), x.cols);
  });
  scatter(ctx, e, s.back, x.count, x.cols, true, out);
}

void train_experts_backward(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                            const float* dout, const ExpertScratch& s, float* dx, float* drouter,
                            std::span<const ExpertGradient> gradients) {
  const int64_t slots_in_all = int64_t{x.count} * e.active;
  activate(ctx, e, slots_in_all, s.inner);
  gather(ctx, e, dout, x.cols, x.count, x.cols, s.back);
  // As if every weight were 1, so that what an expert makes need not be kept: of its output y, dout . y is
  // inner . (down^T dout), the gradient of the router's weight.
  for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
    project_backward(ctx, precision, slots.rows(s.inner, e.inter), w.down, slots.rows(s.back, x.cols),
                     {slots.at(s.dup, e.inter), e.inter}, false, nullptr);
  });
  ctx.pool.for_each(slots_in_all, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = e.order[i];
      drouter[i] = ctx.kernels.dot(s.inner + slot * e.inter, s.dup + slot * e.inter, e.inter);
      ctx.kernels.scale(s.dup + slot * e.inter, e.router_weights[i], e.inter);
      ctx.kernels.scale(s.back + slot * x.cols, e.router_weights[i], x.cols);
    }
  });
  for_each_expert(e, [&](int expert, const Expert& w, const Slots& slots) {
    project_backward(ctx, precision, slots.rows(s.inner, e.inter), w.down, slots.rows(s.back, x.cols), {},
                     false, gradients[static_cast<size_t>(expert)].down);
  });
  silu_mul_backward(ctx, e.gate, e.up, s.dup, static_cast<int>(slots_in_all), e.inter, s.dgate, s.dup);
  gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
  for_each_expert(e, [&](int expert, const Expert& w, const Slots& slots) {
    const ExpertGradient& g = gradients[static_cast<size_t>(expert)];
    const Rows rows = slots.rows(s.rows, x.cols);
    const OutRows to{slots.at(s.back, x.cols), x.cols};
    project_backward(ctx, precision, rows, w.gate, slots.rows(s.dgate, e.inter), to, false, g.gate);
    project_backward(ctx, precision, rows, w.up, slots.rows(s.dup, e.inter), to, true, g.up);
  });
  scatter(ctx, e, s.back, x.count, x.cols, false, dx);
}

}  // namespace minke
