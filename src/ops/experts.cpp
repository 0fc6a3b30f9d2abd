#include "ops/experts.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/rows.h"
#include "ops/tap.h"

namespace minke {
namespace {

// The operands of all experts' rows, one after the other in the order of the slots.
struct ExpertOperands {
  Grain grain;
  int cols;
  const int32_t* starts;
  std::byte* memory;
  // Where experts of a single slot have theirs, if not in between: prepared rows, and which of them it is.
  const std::byte* singles = nullptr;
  const int32_t* single = nullptr;  // [slots]

  int count(int e) const { return starts[e + 1] - starts[e]; }
  std::byte* place(int e) const { return memory + operand_bytes(grain, starts[e], cols); }
  Operand operator[](int e) const {
    const bool alone = singles && count(e) == 1;
    return {alone ? singles + single[starts[e]] * operand_bytes(grain, 1, cols) : place(e), grain, count(e),
            cols};
  }
};

// One call of run_experts, once slots are sorted.
struct Experts {
  using Matrix = const Mat Expert::*;
  const Context& ctx;
  const Workspace& work;
  ExpertSource& source;
  const ExpertBatch& b;
  const ExpertSpace& space;
  int used;  // experts that have slots

  int slots() const { return b.x.count * b.active; }
  const Mat& mat(int e, Matrix matrix) const { return source.get(b.layer, e).*matrix; }
  Grain grain(Matrix matrix) const { return grain_of(ctx, mat(space.used[0], matrix)); }

  template <typename F>
  void for_each_used(const F& f) const {
    ctx.pool.for_each(used, 1, [&](int64_t i, int64_t, int) { f(space.used[i]); });
  }
  template <typename F>
  void for_each_unit(const F& f) const;
  ExpertOperands prepare_tokens(Grain grain) const;
  ExpertOperands prepare_gated() const;
  void linear(Matrix matrix, float* out) const;
  void gated() const;
  void add_down(float* out) const;
  void add_rows(const Mat& w, int first, int count, const Operand& x, int slot, float* out, int thread) const;
  template <typename RowOf>
  void show(int cols, std::initializer_list<Matrix> matrices, const RowOf& row_of) const;
  void show_inputs() const;
};

// f(expert, first row, count, thread) for all rows of the experts' gate and up. Each thread has a run of
// neighbouring rows and experts.
template <typename F>
void Experts::for_each_unit(const F& f) const {
  const int rows = b.inter;
  // Small enough that no thread waits long for the last.
  const int64_t panels = int64_t{used} * (rows / kPanel + 1) / (int64_t{ctx.pool.size()} * 8);
  const int step =
      kPanel * static_cast<int>(std::clamp<int64_t>(b.x.count == 1 ? panels : kMaxPanels, 1, kMaxPanels));
  const int units = (rows + step - 1) / step;
  ctx.pool.for_each(int64_t{used} * units, 1, [&](int64_t i, int64_t, int thread) {
    const int first = static_cast<int>(i % units) * step;
    f(space.used[i / units], first, std::min(step, rows - first), thread);
  });
}

// Each token's row prepared once, whatever the number of experts it goes to.
ExpertOperands Experts::prepare_tokens(Grain grain) const {
  const int64_t bytes = operand_bytes(grain, 1, b.dim), gathered = operand_bytes(grain, slots(), b.dim);
  MINKE_CHECK(gathered + b.x.count * bytes <= work.operands_bytes);
  std::byte* rows = work.operands + gathered;
  ctx.pool.for_each(b.x.count, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      ctx.kernels.prepare(grain, b.x.data + t * b.x.stride, b.x.stride, 1, b.dim, {0, 1}, rows + t * bytes);
  });
  ExpertOperands x{grain, b.dim, space.starts, work.operands};
  if (!b.scale_input) {
    x.singles = rows;
    x.single = space.tokens;
    if (b.x.count == 1) return x;
  }
  for_each_used([&](int e) {
    const int first = space.starts[e];
    if (x.singles && x.count(e) == 1) return;
    const float* factors = b.scale_input ? space.factors + first : nullptr;
    ctx.kernels.gather(grain, {rows, bytes, space.tokens + first, factors, x.count(e), b.dim}, x.place(e));
  });
  return x;
}

// Of space.gate, whose rows lie by expert already.
ExpertOperands Experts::prepare_gated() const {
  const ExpertOperands x{grain(&Expert::down), b.inter, space.starts, work.operands};
  MINKE_CHECK(operand_bytes(x.grain, slots(), b.inter) <= work.operands_bytes);
  for_each_used([&](int e) {
    const int count = x.count(e);
    ctx.kernels.prepare(x.grain, space.gate + int64_t{space.starts[e]} * b.inter, b.inter, count, b.inter,
                        {0, count}, x.place(e));
  });
  return x;
}

// out[slot] = W_expert . x of every slot; `matrix`: gate or up.
void Experts::linear(Matrix matrix, float* out) const {
  const ExpertOperands x = prepare_tokens(grain(matrix));
  for_each_unit([&](int e, int first, int count, int thread) {
    const Mat& w = mat(e, matrix);
    MINKE_CHECK(w.rows == b.inter && grain_of(ctx, w) == x.grain);
    ctx.kernels.multiply(near(ctx, w, thread), first, count, x[e],
                         out + int64_t{space.starts[e]} * b.inter + first, b.inter, false,
                         work.scratch_of(thread));
  });
}

// space.gate = silu(gate x) * (up x) of every slot.
void Experts::gated() const {
  if (grain(&Expert::gate) != grain(&Expert::up)) {  // files mix formats
    linear(&Expert::gate, space.gate);
    linear(&Expert::up, space.up);
    return silu_mul(ctx, space.gate, space.up, slots(), b.inter, space.gate);
  }
  const ExpertOperands x = prepare_tokens(grain(&Expert::gate));
  for_each_unit([&](int e, int first, int count, int thread) {
    const Mat &gate = mat(e, &Expert::gate), &up = mat(e, &Expert::up);
    MINKE_CHECK(gate.rows == b.inter && up.rows == b.inter);
    MINKE_CHECK(grain_of(ctx, gate) == x.grain && grain_of(ctx, up) == x.grain);
    multiply_gated(ctx, work, gate, up, first, count, x[e],
                   space.gate + int64_t{space.starts[e]} * b.inter + first, b.inter, thread);
  });
}

// out[token] += weight * W_down . space.gate[slot] over the slots of each token, by ascending expert. A unit
// is a run of W's rows of all experts, so that no two threads add to the same numbers.
void Experts::add_down(float* out) const {
  const ExpertOperands x = prepare_gated();
  // Two a thread: each unit reads all operands again, out of the last cache.
  const int panels = b.dim / (kPanel * ctx.pool.size() * 2), step = kPanel * std::max(panels, 1);
  ctx.pool.for_each((b.dim + step - 1) / step, 1, [&](int64_t unit, int64_t, int thread) {
    const int first = static_cast<int>(unit) * step, end = std::min(first + step, b.dim);
    for (const int e : std::span(space.used, static_cast<size_t>(used))) {
      const Mat& w = mat(e, &Expert::down);
      MINKE_CHECK(w.rows == b.dim && grain_of(ctx, w) == x.grain);
      const Mat here = near(ctx, w, thread);
      const Operand operand = x[e];
      for (int r = first; r < end; r += kPanel * kMaxPanels)
        add_rows(here, r, std::min(kPanel * kMaxPanels, end - r), operand, space.starts[e], out, thread);
    }
  });
}

// Of one expert, whose first slot is `slot`: rows [first, first + count).
void Experts::add_rows(const Mat& w, int first, int count, const Operand& x, int slot, float* out,
                       int thread) const {
  std::byte* scratch = work.scratch_of(thread);
  float* products = reinterpret_cast<float*>(scratch + gemm_scratch_bytes(x.tokens));
  ctx.kernels.multiply(w, first, count, x, products, count, false, scratch);
  for (int t = 0; t < x.tokens; ++t, ++slot, products += count)
    ctx.kernels.scale_add(out + int64_t{space.tokens[slot]} * b.dim + first, products,
                          b.scale_input ? 1.0f : space.factors[slot], count);
}

// Shows a tap the rows that meet the matrices: row_of(slot) is a slot's.
template <typename RowOf>
void Experts::show(int cols, std::initializer_list<Matrix> matrices, const RowOf& row_of) const {
  for (const int e : std::span(space.used, static_cast<size_t>(used)))
    for (int slot = space.starts[e]; slot < space.starts[e + 1]; ++slot)
      for (const Matrix matrix : matrices) ctx.tap->product(mat(e, matrix), 0, {row_of(slot), cols, 1, cols});
}

void Experts::show_inputs() const {
  std::vector<float> scaled(static_cast<size_t>(b.dim));
  show(b.dim, {&Expert::gate, &Expert::up}, [&](int slot) {
    const float* row = b.x.data + space.tokens[slot] * b.x.stride;
    if (!b.scale_input) return row;
    std::transform(row, row + b.dim, scaled.begin(), [&](float v) { return v * space.factors[slot]; });
    return static_cast<const float*>(scaled.data());
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
  for (int i = 0; i < slots; ++i) {
    space.tokens[space.order[i]] = i / b.active;
    space.factors[space.order[i]] = b.weights[i];
  }
  Experts experts{ctx, work, source, b, space, 0};
  for (int e = 0; e < b.experts; ++e)
    if (space.starts[e + 1] > space.starts[e]) space.used[experts.used++] = e;
  if (ctx.tap) experts.show_inputs();
  experts.gated();
  if (ctx.tap)
    experts.show(b.inter, {&Expert::down}, [&](int slot) { return space.gate + int64_t{slot} * b.inter; });
  experts.add_down(out);
  source.done(b.layer);
}

int64_t expert_operand_bytes(int64_t rows, int active, int dim, int inter, bool wide) {
  return std::max(operand_bytes_at_most(rows * active + rows, dim, wide),
                  operand_bytes_at_most(rows * active, inter, wide));
}

}  // namespace minke
