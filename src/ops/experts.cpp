#include "ops/experts.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/rows.h"
#include "ops/tap.h"

namespace minke {
namespace {

// The operand of one expert's rows inside the shared memory: operands lie one after the other, in the order
// of the slots.
Operand operand_of(const Workspace& work, Grain grain, int first, int count, int cols) {
  const int64_t offset = operand_bytes(grain, first, cols);
  MINKE_CHECK(offset + operand_bytes(grain, count, cols) <= work.operands_bytes);
  return {work.operands + offset, grain, count, cols};
}

// out[slot] = W_expert . x[slot] for every expert that has slots. matrix(expert) picks W; several matrices of
// one input may be given, all of one grain.
struct ExpertProduct {
  const Mat Expert::* matrix;
  float* out;
};

void show(Tap& tap, ExpertSource& source, const ExpertBatch& b, const ExpertSpace& space, const float* x,
          int cols, std::span<const ExpertProduct> products) {
  for (int e = 0; e < b.experts; ++e) {
    const int first = space.starts[e], count = space.starts[e + 1] - first;
    if (count == 0) continue;
    for (const ExpertProduct& p : products)
      tap.product(source.get(b.layer, e).*p.matrix, 0, {x + int64_t{first} * cols, cols, count, cols});
  }
}

void grouped_linear(const Context& ctx, const Workspace& work, ExpertSource& source, const ExpertBatch& b,
                    const ExpertSpace& space, const float* x, int cols,
                    std::span<const ExpertProduct> products) {
  const auto count_of = [&](int e) { return space.starts[e + 1] - space.starts[e]; };
  const auto grain_at = [&](int e) { return grain_of(ctx, source.get(b.layer, e).*products[0].matrix); };

  if (ctx.tap) show(*ctx.tap, source, b, space, x, cols, products);
  const int slots = space.starts[b.experts];
  ctx.pool.for_each(b.experts, 1, [&](int64_t begin, int64_t, int) {
    const int e = static_cast<int>(begin), count = count_of(e), first = space.starts[e];
    if (count == 0) return;
    const Grain grain = grain_at(e);
    const Operand operand = operand_of(work, grain, first, count, cols);
    ctx.kernels.prepare(grain, x + int64_t{first} * cols, cols, count, cols, {0, count},
                        const_cast<std::byte*>(operand.data));
  });

  int active = 0;
  for (int e = 0; e < b.experts; ++e) active += count_of(e) > 0;
  if (active == 0) return;
  // Units of rows, small enough that no thread waits long for the last.
  const Mat& any = source.get(b.layer, [&] {
    int e = 0;
    while (count_of(e) == 0) ++e;
    return e;
  }()).*products[0].matrix;
  const int64_t panels = int64_t{active} * (any.rows / kPanel + 1) / (int64_t{ctx.pool.size()} * 8);
  const int step =
      kPanel * static_cast<int>(std::clamp<int64_t>(slots == b.active ? panels : kMaxPanels, 1, kMaxPanels));
  const int units = (any.rows + step - 1) / step * static_cast<int>(products.size());

  ctx.pool.for_each(int64_t{b.experts} * units, 1, [&](int64_t i, int64_t, int thread) {
    const int e = static_cast<int>(i / units), u = static_cast<int>(i % units), count = count_of(e);
    if (count == 0) return;
    const ExpertProduct& p = products[static_cast<size_t>(u) % products.size()];
    const Mat& w = source.get(b.layer, e).*p.matrix;
    const int row = u / static_cast<int>(products.size()) * step;
    const int first = space.starts[e];
    MINKE_CHECK(w.rows == any.rows && grain_of(ctx, w) == grain_at(e));
    ctx.kernels.multiply(near(ctx, w, thread), row, std::min(step, w.rows - row),
                         operand_of(work, grain_at(e), first, count, cols),
                         p.out + int64_t{first} * w.rows + row, w.rows, false, work.scratch_of(thread));
  });
}

}  // namespace

void sort_by_expert(std::span<const int32_t> ids, int experts, int32_t* order, int32_t* starts) {
  std::fill_n(starts, experts + 1, 0);
  for (const int32_t e : ids) ++starts[e + 1];
  for (int e = 0; e < experts; ++e) starts[e + 1] += starts[e];
  for (const int32_t e : ids) *order++ = starts[e]++;
  for (int e = experts; e > 0; --e) starts[e] = starts[e - 1];
  starts[0] = 0;
}

void run_experts(const Context& ctx, const Workspace& work, ExpertSource& source, const ExpertBatch& b,
                 const ExpertSpace& space, float* out) {
  const int slots = b.x.count * b.active;
  if (slots == 0) return;
  const std::span ids(b.ids, static_cast<size_t>(slots));
  source.want(b.layer, ids);
  sort_by_expert(ids, b.experts, space.order, space.starts);
  ctx.pool.for_each(b.x.count, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * b.active; i < end * b.active; ++i) {
      float* to = space.rows + int64_t{space.order[i]} * b.dim;
      std::memcpy(to, b.x.data + i / b.active * b.x.stride, static_cast<size_t>(b.dim) * sizeof(float));
      if (b.scale_input) ctx.kernels.scale(to, b.weights[i], b.dim);
    }
  });
  const ExpertProduct both[] = {{&Expert::gate, space.gate}, {&Expert::up, space.up}};
  const Expert& any = source.get(b.layer, b.ids[0]);
  if (grain_of(ctx, any.gate) == grain_of(ctx, any.up)) {
    grouped_linear(ctx, work, source, b, space, space.rows, b.dim, both);
  } else {  // files mix formats
    for (const ExpertProduct& one : both)
      grouped_linear(ctx, work, source, b, space, space.rows, b.dim, {&one, 1});
  }
  silu_mul(ctx, space.gate, space.up, slots, b.inter, space.gate);
  const ExpertProduct down[] = {{&Expert::down, space.rows}};
  grouped_linear(ctx, work, source, b, space, space.gate, b.inter, down);
  ctx.pool.for_each(b.x.count, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = t * b.active; i < (t + 1) * b.active; ++i) {
        ctx.kernels.scale_add(out + t * b.dim, space.rows + int64_t{space.order[i]} * b.dim,
                              b.scale_input ? 1.0f : b.weights[i], b.dim);
      }
    }
  });
  source.done(b.layer);
}

}  // namespace minke
