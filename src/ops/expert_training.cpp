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

template <typename F>
void for_each_expert(const TrainedExperts& e, const F& f) {
  for (int x = 0; x < e.experts; ++x)
    if (const int count = e.starts[x + 1] - e.starts[x]; count > 0)
      f(x, e.weights[static_cast<size_t>(x)], Slots{e.starts[x], count});
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

}  // namespace

void train_experts(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                   const ExpertScratch& s, float* out) {
  const int slots_in_all = x.count * e.active;
  sort_by_expert({e.ids, static_cast<size_t>(slots_in_all)}, e.experts, e.order, e.starts);
  gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
      products.project(slots.rows(s.rows, x.cols), w.gate, slots.at(e.gate, e.inter));
      products.project(slots.rows(s.rows, x.cols), w.up, slots.at(e.up, e.inter));
    });
  }
  silu_mul(ctx, e.gate, e.up, slots_in_all, e.inter, s.inner);
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
      products.project(slots.rows(s.inner, e.inter), w.down, slots.at(s.back, x.cols));
    });
  }
  scatter(ctx, e, s.back, x.count, x.cols, true, out);
}

void train_experts_backward(const Context& ctx, Precision precision, const TrainedExperts& e, const Rows& x,
                            const float* dout, const ExpertScratch& s, float* dx, float* drouter,
                            std::span<const ExpertGradient> gradients) {
  const int slots_in_all = x.count * e.active;
  silu_mul(ctx, e.gate, e.up, slots_in_all, e.inter, s.inner);
  gather(ctx, e, dout, x.cols, x.count, x.cols, s.back);
  // As if every weight were 1, so that what an expert makes need not be kept: of its output y, dout . y is
  // inner . (down^T dout), the gradient of the router's weight.
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
      products.back(slots.rows(s.back, x.cols), w.down, slots.at(s.dup, e.inter), false);
    });
  }
  ctx.pool.for_each(slots_in_all, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = e.order[i];
      drouter[i] = ctx.kernels.dot(s.inner + slot * e.inter, s.dup + slot * e.inter, e.inter);
      ctx.kernels.scale(s.dup + slot * e.inter, e.router_weights[i], e.inter);
      ctx.kernels.scale(s.back + slot * x.cols, e.router_weights[i], x.cols);
    }
  });
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int expert, const Expert&, const Slots& slots) {
      products.gradient(slots.rows(s.inner, e.inter), slots.rows(s.back, x.cols),
                        gradients[static_cast<size_t>(expert)].down);
    });
  }
  silu_mul_backward(ctx, e.gate, e.up, s.dup, slots_in_all, e.inter, s.dgate, s.dup);
  gather(ctx, e, x.data, x.stride, x.count, x.cols, s.rows);
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int expert, const Expert& w, const Slots& slots) {
      const ExpertGradient& g = gradients[static_cast<size_t>(expert)];
      products.back(slots.rows(s.dgate, e.inter), w.gate, slots.at(s.back, x.cols), false);
      products.gradient(slots.rows(s.rows, x.cols), slots.rows(s.dgate, e.inter), g.gate);
      products.gradient(slots.rows(s.rows, x.cols), slots.rows(s.dup, e.inter), g.up);
    });
  }
  {
    Products products(ctx, precision);
    for_each_expert(e, [&](int, const Expert& w, const Slots& slots) {
      products.back(slots.rows(s.dup, e.inter), w.up, slots.at(s.back, x.cols), true);
    });
  }
  scatter(ctx, e, s.back, x.count, x.cols, false, dx);
}

}  // namespace minke
