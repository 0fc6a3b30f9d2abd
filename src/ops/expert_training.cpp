#include "ops/expert_training.h"

#include <algorithm>

#include "ops/rows_backward.h"

namespace minke {
namespace {

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

// Rows sorted by expert, and memory for what becomes of them: of this rank's tokens, or of all that came
// here.
struct SortedRows {
  int first, experts;     // of those that are here
  const int32_t* starts;  // [experts + 1]
  int dim, inter;
  std::span<const Expert> weights;  // of all
  float *rows, *back;               // [rows][dim]
  float *gate, *up, *inner, *dgate, *dup;

  int count() const { return starts[experts]; }
  template <typename F>
  void for_each_expert(const F& f) const {
    for (int x = 0; x < experts; ++x)
      if (const int many = starts[x + 1] - starts[x]; many > 0)
        f(first + x, weights[static_cast<size_t>(first + x)], Slots{starts[x], many});
  }
};

SortedRows of_tokens(const TrainedExperts& e, int dim, const ExpertScratch& s) {
  return {0,      e.experts, e.starts, dim,     e.inter, e.weights, s.rows,
          s.back, e.gate,    e.up,     s.inner, s.dgate, s.dup};
}

SortedRows of_ranks(const TrainedExperts& e, int dim) {
  ExpertsRows& k = *e.ranks->kept;
  ExpertsSpace& s = *e.ranks->space;
  const int64_t rows = k.routes.rows();
  const int here = e.experts / e.ranks->comm->size;
  made_large(s.weights, rows);
  made_large(s.dweights, rows);
  return {e.ranks->comm->rank * here,
          here,
          k.routes.starts.data(),
          dim,
          e.inter,
          e.weights,
          made_large(k.rows, rows * dim),
          made_large(s.back, rows * dim),
          made_large(k.gate, rows * e.inter),
          made_large(k.up, rows * e.inter),
          made_large(s.inner, rows * e.inter),
          made_large(s.dgate, rows * e.inter),
          made_large(s.dup, rows * e.inter)};
}

// Products of all experts, done at once: they are many and small.
class Products {
 public:
  Products(const Context& ctx, Precision precision) : ctx_(ctx), precision_(precision) {}
  ~Products() { matmul(ctx_, precision_, products_); }

  // out = W x, and dx (+)= W^T dy, row by row; dw += sum of dy x^T, where there is a gradient.
  void project(const Rows& x, const Mat& w, float* out) { put(view(x), transposed(w), out, w.rows, false); }
  void back(const Rows& dy, const Mat& w, float* dx, bool add) { put(view(dy), view(w), dx, w.cols, add); }
  void gradient(const Rows& x, const Rows& dy, float* dw) {
    if (dw) put(transposed(dy), view(x), dw, x.cols, true);
  }

 private:
  void put(const MatrixView& a, const MatrixView& b, float* out, int64_t stride, bool add) {
    products_.push_back({a, b, out, stride, add});
  }

  const Context& ctx_;
  Precision precision_;
  std::vector<MatrixProduct> products_;
};

// From rows to back.
void forward(const Context& ctx, Precision precision, const SortedRows& r) {
  {
    Products products(ctx, precision);
    r.for_each_expert([&](int, const Expert& w, const Slots& slots) {
      products.project(slots.rows(r.rows, r.dim), w.gate, slots.at(r.gate, r.inter));
      products.project(slots.rows(r.rows, r.dim), w.up, slots.at(r.up, r.inter));
    });
  }
  silu_mul(ctx, r.gate, r.up, r.count(), r.inter, r.inner);
  Products products(ctx, precision);
  r.for_each_expert([&](int, const Expert& w, const Slots& slots) {
    products.project(slots.rows(r.inner, r.inter), w.down, slots.at(r.back, r.dim));
  });
}

// Of one row, with its weight: what backward has made as if every weight were 1 is multiplied by it. Returns
// the gradient of the weight.
float weigh(const Context& ctx, const SortedRows& r, int64_t row, float weight) {
  const float gradient = ctx.kernels.dot(r.inner + row * r.inter, r.dup + row * r.inter, r.inter);
  ctx.kernels.scale(r.dup + row * r.inter, weight, r.inter);
  ctx.kernels.scale(r.back + row * r.dim, weight, r.dim);
  return gradient;
}

// In back: from the gradient by what the experts gave, without the routers' weights, to that by what they
// were given. weigh_all() calls weigh for every row.
template <typename F>
void backward(const Context& ctx, Precision precision, const SortedRows& r,
              std::span<const ExpertGradient> gradients, const F& weigh_all) {
  silu_mul(ctx, r.gate, r.up, r.count(), r.inter, r.inner);
  // As if every weight were 1, so that what an expert makes need not be kept: of its output y, dout . y is
  // inner . (down^T dout), the gradient of the router's weight.
  {
    Products products(ctx, precision);
    r.for_each_expert([&](int, const Expert& w, const Slots& slots) {
      products.back(slots.rows(r.back, r.dim), w.down, slots.at(r.dup, r.inter), false);
    });
  }
  weigh_all();
  {
    Products products(ctx, precision);
    r.for_each_expert([&](int expert, const Expert&, const Slots& slots) {
      products.gradient(slots.rows(r.inner, r.inter), slots.rows(r.back, r.dim),
                        gradients[static_cast<size_t>(expert)].down);
    });
  }
  silu_mul_backward(ctx, r.gate, r.up, r.dup, r.count(), r.inter, r.dgate, r.dup);
  {
    Products products(ctx, precision);
    r.for_each_expert([&](int expert, const Expert& w, const Slots& slots) {
      const ExpertGradient& g = gradients[static_cast<size_t>(expert)];
      products.back(slots.rows(r.dgate, r.inter), w.gate, slots.at(r.back, r.dim), false);
      products.gradient(slots.rows(r.rows, r.dim), slots.rows(r.dgate, r.inter), g.gate);
      products.gradient(slots.rows(r.rows, r.dim), slots.rows(r.dup, r.inter), g.up);
    });
  }
  Products products(ctx, precision);
  r.for_each_expert([&](int, const Expert& w, const Slots& slots) {
    products.back(slots.rows(r.dup, r.inter), w.up, slots.at(r.back, r.dim), true);
  });
}

void await(Pending& travel, const std::function<void(Pending&)>& meanwhile) {
  if (meanwhile) meanwhile(travel);
  travel.finish();
}

// The same where s.back [S][dim] holds rows of this rank's tokens, and their experts are elsewhere.
void backward_over_ranks(const Context& ctx, Precision precision, const TrainedExperts& e, int slots_in_all,
                         int dim, const ExpertScratch& s, const Meanwhile& meanwhile, float* drouter,
                         std::span<const ExpertGradient> gradients) {
  const Comm& comm = *e.ranks->comm;
  ExpertsSpace& space = *e.ranks->space;
  const ExpertRoutes& routes = e.ranks->kept->routes;
  const SortedRows r = of_ranks(e, dim);
  float* const weights = made_large(space.slot_weights, slots_in_all);
  for (int i = 0; i < slots_in_all; ++i) weights[e.order[i]] = e.router_weights[i];
  Pending there = start_to_experts(comm, routes, dim, s.back, space.travel);
  await(there, meanwhile.there);
  take_at_experts(routes, dim, space.travel, r.back);
  send_to_experts(comm, routes, 1, weights, space.weights.data(), space.travel);
  backward(ctx, precision, r, gradients, [&] {
    ctx.pool.for_each(r.count(), 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        space.dweights[static_cast<size_t>(i)] = weigh(ctx, r, i, space.weights[static_cast<size_t>(i)]);
    });
  });
  Pending back = start_to_tokens(comm, routes, dim, r.back, s.back, space.travel);
  await(back, meanwhile.back);
  send_to_tokens(comm, routes, 1, space.dweights.data(), weights, space.travel);
  for (int i = 0; i < slots_in_all; ++i) drouter[i] = weights[e.order[i]];
}

}  // namespace

void train_experts(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                   const ExpertScratch& s, const Meanwhile& meanwhile, float* out) {
  sort_by_expert({e.ids, static_cast<size_t>(x.count) * static_cast<size_t>(e.active)}, e.experts, e.order,
                 e.starts);
  gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
  if (e.ranks) {
    const Comm& comm = *e.ranks->comm;
    ExpertRoutes& routes = e.ranks->kept->routes;
    routes = find_routes(comm, e.experts, e.starts);
    const SortedRows rows = of_ranks(e, x.cols);
    std::vector<float>& travel = e.ranks->space->travel;
    Pending there = start_to_experts(comm, routes, x.cols, s.rows, travel);
    await(there, meanwhile.there);
    take_at_experts(routes, x.cols, travel, rows.rows);
    forward(ctx, precision, rows);
    Pending back = start_to_tokens(comm, routes, x.cols, rows.back, s.back, travel);
    await(back, meanwhile.back);
  } else {
    Pending none;
    await(none, meanwhile.there);
    forward(ctx, precision, of_tokens(e, x.cols, s));
    await(none, meanwhile.back);
  }
  scatter(ctx, e, s.back, x.count, x.cols, true, out);
}

void train_experts_backward(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                            const float* dout, const ExpertScratch& s, const Meanwhile& meanwhile, float* dx,
                            float* drouter, std::span<const ExpertGradient> gradients) {
  const int slots_in_all = x.count * e.active;
  gather(ctx, e, dout, x.cols, x.count, x.cols, s.back);
  if (e.ranks) {
    backward_over_ranks(ctx, precision, e, slots_in_all, x.cols, s, meanwhile, drouter, gradients);
  } else {
    Pending none;
    await(none, meanwhile.there);
    gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
    const SortedRows r = of_tokens(e, x.cols, s);
    backward(ctx, precision, r, gradients, [&] {
      ctx.pool.for_each(slots_in_all, 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) drouter[i] = weigh(ctx, r, e.order[i], e.router_weights[i]);
      });
    });
    await(none, meanwhile.back);
  }
  scatter(ctx, e, s.back, x.count, x.cols, false, dx);
}

}  // namespace minke
