#include "ops/linear.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "ops/rows.h"
#include "ops/tap.h"

namespace minke {
namespace {

// Rows of W a thread multiplies between two claims: many where there is much to do, so that few claims are
// made.
int rows_per_claim(int64_t rows, int threads) {
  const int64_t panels = rows / kPanel / (int64_t{threads} * 8);
  return kPanel * static_cast<int>(std::clamp<int64_t>(panels, 1, kMaxPanels));
}

void add_bias(const Kernels& kernels, const Product& p, int first, int count, int rows) {
  for (int r = 0; r < rows; ++r) kernels.add(p.out + r * p.stride + first, p.bias + first, count);
}

// The operand of all of x, made by all threads: groups of rows, and where these are few, parts of them.
Operand prepare(const Context& ctx, const Workspace& work, const Rows& x, Grain grain) {
  MINKE_CHECK(operand_bytes(grain, x.count, x.cols) <= work.operands_bytes, "{} rows of {}", x.count, x.cols);
  constexpr int kLeast = 32;  // blocks of rows worth another thread
  const int groups = (x.count + kTokenGroup - 1) / kTokenGroup,
            blocks = (x.cols + kOperandBlock - 1) / kOperandBlock;
  const int threads = groups >= ctx.pool.size() ? 1 : std::min(ctx.pool.size(), x.count * blocks / kLeast);
  const int wanted = std::clamp(threads, 1, blocks), each = (blocks + wanted - 1) / wanted;
  const int parts = (blocks + each - 1) / each;
  ctx.pool.for_each(int64_t{groups} * parts, 1, [&](int64_t unit, int64_t, int) {
    const int first = static_cast<int>(unit / parts) * kTokenGroup,
              block = static_cast<int>(unit % parts) * each;
    ctx.kernels.prepare(grain, x.data, x.stride, x.count, x.cols,
                        {first, std::min(kTokenGroup, x.count - first), block, block + each}, work.operands);
  });
  return {work.operands, grain, x.count, x.cols};
}

// The products that take one grain: x is prepared once, then all panels of all matrices are shared out.
void linear_at(const Context& ctx, const Workspace& work, const Rows& x, std::span<const Product> products,
               Grain grain) {
  const Operand operand = prepare(ctx, work, x, grain);

  int64_t total = 0;
  for (const Product& p : products)
    if (grain_of(ctx, *p.w, p.exact) == grain) total += p.w->rows;
  const int step = rows_per_claim(total, ctx.pool.size());
  int64_t claims = 0;
  for (const Product& p : products)
    if (grain_of(ctx, *p.w, p.exact) == grain) claims += (p.w->rows + step - 1) / step;

  ctx.pool.for_each(claims, 1, [&](int64_t claim, int64_t, int thread) {
    for (const Product& p : products) {
      if (grain_of(ctx, *p.w, p.exact) != grain) continue;
      const int64_t here = (p.w->rows + step - 1) / step;
      if (claim >= here) {
        claim -= here;
        continue;
      }
      const int first = static_cast<int>(claim) * step, count = std::min(step, p.w->rows - first);
      ctx.kernels.multiply(near(ctx, *p.w, thread), first, count, operand, p.out + first, p.stride, p.add,
                           work.scratch_of(thread));
      if (p.bias) add_bias(ctx.kernels, p, first, count, x.count);
      return;
    }
  });
}

// What adapters add: every A times the rows, then each B times what its A gave.
void add_adapters(const Context& ctx, const Workspace& work, const Rows& x,
                  std::span<const Product> products) {
  std::array<Product, kMostAdapted> down;
  size_t count = 0;
  int64_t width = 0;
  for (const Product& p : products) {
    if (!p.adapter || !*p.adapter) continue;
    MINKE_CHECK(count < down.size());
    down[count++] = {&p.adapter->a, work.adapted + width, 0, nullptr, false, true, p.adapter};
    width += p.adapter->rank();
  }
  if (count == 0) return;
  MINKE_CHECK(width <= work.adapted_width, "adapters of {} rows together, {} at most", width,
              work.adapted_width);
  for (Product& p : down) p.stride = width;
  linear_at(ctx, work, x, std::span(down).first(count), Grain::f32);
  ctx.pool.for_each(x.count, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      for (size_t i = 0; i < count; ++i)
        ctx.kernels.scale(down[i].out + r * width, down[i].adapter->scale, down[i].adapter->rank());
  });
  size_t next = 0;
  for (const Product& p : products) {
    if (!p.adapter || !*p.adapter) continue;
    const Rows adapted{down[next++].out, width, x.count, p.adapter->rank()};
    const Product up{&p.adapter->b, p.out, p.stride, nullptr, true, true};
    linear_at(ctx, work, adapted, {&up, 1}, Grain::f32);
  }
}

}  // namespace

Grain grain_of(const Context& ctx, const Mat& w, bool exact) {
  return ctx.round_activations && !exact ? grain_for(w.format) : Grain::f32;
}

void linear(const Context& ctx, const Workspace& work, const Rows& x, std::span<const Product> products) {
  if (x.count == 0) return;
  for (const Product& p : products)
    MINKE_CHECK(p.w->cols == x.cols, "W has {} columns, x {}", p.w->cols, x.cols);
  if (ctx.tap)
    for (const Product& p : products) ctx.tap->product(*p.w, 0, x);
  for (const Grain grain : {Grain::f32, Grain::bf16, Grain::int8}) {
    const auto takes = [&](const Product& p) { return grain_of(ctx, *p.w, p.exact) == grain; };
    if (std::any_of(products.begin(), products.end(), takes)) linear_at(ctx, work, x, products, grain);
  }
  add_adapters(ctx, work, x, products);
}

void gated_linear(const Context& ctx, const Workspace& work, const Rows& x, const Product& gate,
                  const Product& up) {
  const Grain grain = grain_of(ctx, *gate.w);
  const auto adapted = [](const Product& p) { return p.adapter && *p.adapter; };
  // What adapters add comes before SiLU; and files mix formats.
  if (adapted(gate) || adapted(up) || grain_of(ctx, *up.w) != grain) {
    const Product both[] = {gate, up};
    linear(ctx, work, x, both);
    for_rows(ctx, x.count, gate.w->rows, [&](int64_t r) {
      float* out = gate.out + r * gate.stride;
      ctx.kernels.silu_mul(out, up.out + r * up.stride, gate.w->rows, out);
    });
    return;
  }
  if (x.count == 0) return;
  MINKE_CHECK(gate.w->cols == x.cols && up.w->cols == x.cols && gate.w->rows == up.w->rows);
  if (ctx.tap)
    for (const Product* p : {&gate, &up}) ctx.tap->product(*p->w, 0, x);
  const Operand operand = prepare(ctx, work, x, grain);
  const int rows = gate.w->rows, step = rows_per_claim(2 * int64_t{rows}, ctx.pool.size());
  ctx.pool.for_each((rows + step - 1) / step, 1, [&](int64_t claim, int64_t, int thread) {
    const int first = static_cast<int>(claim) * step;
    multiply_gated(ctx, work, *gate.w, *up.w, first, std::min(step, rows - first), operand, gate.out + first,
                   gate.stride, thread);
  });
}

void multiply_gated(const Context& ctx, const Workspace& work, const Mat& gate, const Mat& up, int first,
                    int count, const Operand& x, float* out, int64_t stride, int thread) {
  std::byte* scratch = work.scratch_of(thread);
  float* beside = reinterpret_cast<float*>(scratch + gemm_scratch_bytes(x.tokens));
  ctx.kernels.multiply(near(ctx, up, thread), first, count, x, beside, count, false, scratch);
  ctx.kernels.multiply(near(ctx, gate, thread), first, count, x, out, stride, false, scratch);
  for (int t = 0; t < x.tokens; ++t)
    ctx.kernels.silu_mul(out + t * stride, beside + int64_t{t} * count, count, out + t * stride);
}

void head_linear(const Context& ctx, const Workspace& work, int rows, const HeadProduct& p) {
  if (rows == 0) return;
  const Grain grain = grain_of(ctx, *p.w);
  const int cols = p.w->cols;
  MINKE_CHECK(p.w->rows == p.heads * p.out_cols);
  if (ctx.tap)
    for (int head = 0; head < p.heads; ++head)
      ctx.tap->product(*p.w, head, {p.x + head * p.x_head, p.x_stride, rows, cols});
  ctx.pool.for_each(p.heads, 1, [&](int64_t head, int64_t, int thread) {
    std::byte* gemm_scratch = work.scratch_of(thread);
    std::byte* prepared = gemm_scratch + gemm_scratch_bytes(rows);
    ctx.kernels.prepare(grain, p.x + head * p.x_head, p.x_stride, rows, cols, {0, rows}, prepared);
    const Operand operand{prepared, grain, rows, cols};
    const int step = kPanel * kMaxPanels, base = static_cast<int>(head) * p.out_cols;
    for (int r = 0; r < p.out_cols; r += step) {
      ctx.kernels.multiply(near(ctx, *p.w, thread), base + r, std::min(step, p.out_cols - r), operand,
                           p.out + head * p.out_head + r, p.out_stride, false, gemm_scratch);
    }
  });
}

int64_t operand_bytes_at_most(int64_t rows, int cols, bool wide) {
  const int64_t most =
      std::max(operand_bytes(Grain::int8, 1, cols), wide ? operand_bytes(Grain::f32, 1, cols) : 0);
  return rows * most;
}

int64_t linear_scratch_bytes(int rows, int head_cols, bool wide) {
  const int64_t gated = int64_t{rows} * kPanel * kMaxPanels * static_cast<int64_t>(sizeof(float));
  return gemm_scratch_bytes(rows) +
         std::max(gated, head_cols > 0 ? operand_bytes_at_most(rows, head_cols, wide) : 0);
}

}  // namespace minke
