#include "ops/attention.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "ops/partial.h"

namespace minke {
namespace {

// Some tokens of a run with some heads of one kv head: at most kMaxQueries query rows.
struct Task {
  const Run* run;
  int token, tokens;  // within the run
  int head, heads;
  int kv_head;
};

// How one run is cut into tasks.
struct Cut {
  int tokens, heads, token_steps, head_steps, kv_heads;

  Cut(const AttentionShape& s, int count) {
    const int group = s.heads / s.kv_heads;
    heads = std::min(group, kMaxQueries);
    tokens = kMaxQueries / heads;
    const int whole = kTokenGroup / std::gcd(heads, kTokenGroup);  // so many fill register tiles
    if (tokens > whole) tokens -= tokens % whole;
    tokens = std::min(count, tokens);
    token_steps = (count + tokens - 1) / tokens;
    head_steps = (group + heads - 1) / heads;
    kv_heads = s.kv_heads;
  }
  int tasks() const { return token_steps * head_steps * kv_heads; }
  Task task(const AttentionShape& s, const Run& run, int i) const {
    const int group = s.heads / s.kv_heads, t = i / (head_steps * kv_heads), h = i / kv_heads % head_steps;
    const int kv_head = i % kv_heads;
    return {&run,
            t * tokens,
            std::min(tokens, run.count - t * tokens),
            kv_head * group + h * heads,
            std::min(heads, group - h * heads),
            kv_head};
  }
};

// Results of some spans of a task, put together in the order of the spans.
struct Partial {
  float* peak;  // [kMaxQueries]
  float* mass;  // [kMaxQueries]
  float* out;   // [kMaxQueries][width]
};

Partial partial_at(float* memory, int width, int64_t unit) {
  float* p = memory + unit * kMaxQueries * (width + 2);
  return {p, p + kMaxQueries, p + 2 * kMaxQueries};
}

PartialRow row_of(const Partial& p, int width, int i) { return {p.out + i * width, p.peak + i, p.mass + i}; }

void merge(const Kernels& kernels, int queries, int width, const Partial& next, const Partial& sum) {
  for (int i = 0; i < queries; ++i) merge_row(kernels, width, row_of(next, width, i), row_of(sum, width, i));
}

int spans_of(const Run& run) { return (run.position + run.count + kSpan - 1) / kSpan; }

// Too few tasks to keep all threads busy: their spans are shared out.
bool few(int64_t tasks, int threads) { return tasks < 4 * int64_t{threads}; }

// Rows of the cache, chosen ones, one after the other.
struct Gathered {
  std::byte* rows;
  int count;

  void fill(const KvPool& pool, int layer, const KvView& view, const int32_t* chosen) const {
    const int64_t bytes = pool.row(layer).bytes;
    for (int s = 0; s < count; ++s)
      std::memcpy(rows + s * bytes, pool.row_at(layer, view, chosen[s]), static_cast<size_t>(bytes));
    const int padded = (count + 15) / 16 * 16;
    std::memset(rows + count * bytes, 0, static_cast<size_t>((padded - count) * bytes));
  }
};

struct Pass {
  const Context& ctx;
  const Workspace& work;
  const AttentionShape& shape;
  KeyRows keys, values;  // of kv head 0, pages not set
  const float* q;
  float* out;

  static KeyRows at(const KeyRows& rows, const KvPart& part, int kv_head, const int32_t* pages) {
    KeyRows r = rows;
    r.pages = pages;
    r.offset += kv_head * part.head_bytes();
    r.scales += kv_head * part.head_bytes();
    return r;
  }

  // One span of a task into a partial; scratch is the kernel's.
  void span(const Task& task, int first, int last, const Partial& to, std::byte* scratch) const {
    const float* rows[kMaxQueries];
    int from[kMaxQueries], until[kMaxQueries];
    for (int t = 0, i = 0; t < task.tokens; ++t) {
      const int position = task.run->position + task.token + t;
      const int64_t row = task.run->row + task.token + t;
      for (int h = 0; h < task.heads; ++h, ++i) {
        rows[i] = q + (row * shape.heads + task.head + h) * shape.query_width;
        from[i] = shape.chunk > 0 ? position / shape.chunk * shape.chunk : 0;
        until[i] = position + 1;
      }
    }
    const int32_t* pages = task.run->kv->pages.data();
    ctx.kernels.attend(
        {rows, task.tokens * task.heads, from, until, at(keys, shape.keys, task.kv_head, pages),
         at(values, shape.values, task.kv_head, pages), first, last, to.out, to.peak, to.mass},
        scratch);
  }

  // Query i of a task.
  void finish(const Task& task, int i, const Partial& sum) const {
    const int64_t row = task.run->row + task.token + i / task.heads;
    float* to = out + (row * shape.heads + task.head + i % task.heads) * shape.value_width;
    std::memcpy(to, sum.out + i * shape.value_width, static_cast<size_t>(shape.value_width) * sizeof(float));
    ctx.kernels.scale(to, 1.0f / sum.mass[i], shape.value_width);
  }
  void finish(const Task& task, const Partial& sum) const {
    for (int i = 0; i < task.tokens * task.heads; ++i) finish(task, i, sum);
  }

  int end_of(const Task& task) const { return task.run->position + task.token + task.tokens; }

  // A whole task on one thread, span after span.
  void whole(const Task& task, int thread) const {
    std::byte* scratch = work.scratch_of(thread);
    const int width = shape.value_width, queries = task.tokens * task.heads;
    auto* partials =
        reinterpret_cast<float*>(scratch + attend_scratch_bytes(std::max(shape.query_width, width)));
    Partial sum = partial_at(partials, width, 0), next = partial_at(partials, width, 1);
    const int end = end_of(task);
    for (int first = 0; first < end; first += kSpan) {
      const int last = std::min(end, first + kSpan);
      span(task, first, last, first == 0 ? sum : next, scratch);
      if (first > 0) merge(ctx.kernels, queries, width, next, sum);
    }
    finish(task, sum);
  }

  // One token's heads over the rows gathered for it.
  void chosen(const Task& task, const Gathered& gathered, int thread) const {
    std::byte* scratch = work.scratch_of(thread);
    const int width = shape.value_width;
    auto* partials =
        reinterpret_cast<float*>(scratch + attend_scratch_bytes(std::max(shape.query_width, width)));
    Partial sum = partial_at(partials, width, 0), next = partial_at(partials, width, 1);
    const float* query_rows[kMaxQueries];
    int from[kMaxQueries] = {}, until[kMaxQueries];
    for (int h = 0; h < task.heads; ++h) {
      query_rows[h] =
          q + (int64_t{task.run->row + task.token} * shape.heads + task.head + h) * shape.query_width;
      until[h] = gathered.count;
    }
    KeyRows chosen_keys = keys, chosen_values = values;
    chosen_keys.base = chosen_values.base = gathered.rows;
    for (int first = 0; first < gathered.count; first += kSpan) {
      const Partial& to = first == 0 ? sum : next;
      ctx.kernels.attend({query_rows, task.heads, from, until, chosen_keys, chosen_values, first,
                          std::min(gathered.count, first + kSpan), to.out, to.peak, to.mass},
                         scratch);
      if (first > 0) merge(ctx.kernels, task.heads, width, next, sum);
    }
    finish(task, sum);
  }
};

Pass make_pass(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
               const AttentionShape& s, const float* q, float* out) {
  return {ctx,
          work,
          s,
          key_rows(pool, layer, s.keys, s.query_width),
          key_rows(pool, layer, s.values, s.value_width),
          q,
          out};
}

// The units of a run whose spans are shared out: each is one span of one task.
struct Split {
  const Run& run;
  Cut cut;
  int64_t first;  // partial

  int64_t tasks() const { return cut.tasks(); }
  int spans() const { return spans_of(run); }
  // Those of a task lie together, in their order.
  int64_t partial(int64_t task, int span) const { return first + task * spans() + span; }
};

// f(split) for each run, as long as it returns true.
template <typename F>
void for_each_split(const AttentionShape& shape, std::span<const Run> runs, const F& f) {
  int64_t first = 0;
  for (const Run& run : runs) {
    const Split s{run, Cut(shape, run.count), first};
    if (!f(s)) return;
    first += s.tasks() * s.spans();
  }
}

// Few tasks, long contexts: spans by themselves, then merged in their order, query by query. Tasks take turns
// at a span, since heads lie beside each other in its rows: what a processor brings unasked is needed next.
void split_spans(const Pass& pass, std::span<const Run> runs, int64_t units) {
  const int width = pass.shape.value_width;
  const auto partial = [&](int64_t i) { return partial_at(pass.work.partials, width, i); };
  pass.ctx.pool.for_each(units, 1, [&](int64_t i, int64_t, int thread) {
    for_each_split(pass.shape, runs, [&](const Split& s) {
      const int64_t unit = i - s.first, number = unit % s.tasks();
      const int span = static_cast<int>(unit / s.tasks());
      if (span >= s.spans()) return true;
      const Task task = s.cut.task(pass.shape, s.run, static_cast<int>(number));
      const int first = span * kSpan;
      pass.span(task, first, std::min(pass.end_of(task), first + kSpan), partial(s.partial(number, span)),
                pass.work.scratch_of(thread));
      return false;
    });
  });
  for_each_split(pass.shape, runs, [&](const Split& s) {
    for (int64_t number = 0; number < s.tasks(); ++number) {
      const Task task = s.cut.task(pass.shape, s.run, static_cast<int>(number));
      const Partial sum = partial(s.partial(number, 0));
      pass.ctx.pool.for_each(task.tokens * task.heads, 4, [&](int64_t begin, int64_t end, int) {
        for (int i = static_cast<int>(begin); i < end; ++i) {
          for (int n = 1; n < s.spans(); ++n)
            merge_row(pass.ctx.kernels, width, row_of(partial(s.partial(number, n)), width, i),
                      row_of(sum, width, i));
          pass.finish(task, i, sum);
        }
      });
    }
    return true;
  });
}

}  // namespace

KeyRows key_rows(const KvPool& pool, int layer, const KvPart& part, int width) {
  const int64_t numbers = part.offset + kv_scale_bytes(part.format, part.head_width());
  return {pool.base(layer), nullptr, pool.row(layer).bytes, numbers, part.format, width, part.offset};
}

void attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
               const AttentionShape& shape, std::span<const Run> runs, const float* q, float* out) {
  const Pass pass = make_pass(ctx, work, pool, layer, shape, q, out);
  int64_t tasks = 0, units = 0;
  for (const Run& run : runs) {
    const int64_t n = Cut(shape, run.count).tasks();
    tasks += n;
    units += n * spans_of(run);
  }
  if (units > tasks && few(tasks, ctx.pool.size()) && units <= work.partial_units)
    return split_spans(pass, runs, units);
  ctx.pool.for_each(tasks, 1, [&](int64_t i, int64_t, int thread) {
    for (const Run& run : runs) {
      const Cut cut(shape, run.count);
      if (i < cut.tasks()) return pass.whole(cut.task(shape, run, static_cast<int>(i)), thread);
      i -= cut.tasks();
    }
  });
}

void sparse_attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                      const AttentionShape& shape, std::span<const Run> runs, const Selection& selection,
                      const float* q, float* out) {
  MINKE_CHECK(shape.kv_heads == 1);
  const Pass pass = make_pass(ctx, work, pool, layer, shape, q, out);
  const Cut one(shape, 1);
  int64_t rows = 0;
  for (const Run& run : runs) rows += run.count;
  const int width = shape.value_width;
  const int64_t attend_bytes = attend_scratch_bytes(std::max(shape.query_width, width));

  // The heads of a row read the same rows of the cache: one thread takes them all where that leaves none
  // idle.
  const int at_once = rows >= 2 * ctx.pool.size() ? one.tasks() : 1, shares = one.tasks() / at_once;
  ctx.pool.for_each(rows * shares, 1, [&](int64_t i, int64_t, int thread) {
    int64_t r = i / shares;
    const Run* run = runs.data();
    for (; r >= run->count; ++run) r -= run->count;
    const int64_t row = run->row + r;
    const int count = selection.counts[row], first_task = static_cast<int>(i % shares) * at_once;
    std::byte* scratch = work.scratch_of(thread);
    Gathered gathered{
        scratch + attend_bytes + 2 * kMaxQueries * (width + 2) * static_cast<int64_t>(sizeof(float)), count};
    if (count >= 0) gathered.fill(pool, layer, *run->kv, selection.chosen + row * selection.most);
    for (int t = first_task; t < first_task + at_once; ++t) {
      Task task = one.task(shape, *run, t);
      task.token = static_cast<int>(r);
      if (count < 0)
        pass.whole(task, thread);
      else
        pass.chosen(task, gathered, thread);
    }
  });
}

int64_t attention_partials(int heads, int kv_heads, int64_t context, int sequences, int threads) {
  const int64_t tasks = Cut({heads, kv_heads, 0, 0, {}, {}}, 1).tasks();
  return few(tasks, threads) ? tasks * (context / kSpan + sequences) : 0;
}

int64_t attention_scratch_bytes(int query_width, int value_width, int gathered, int64_t row_bytes) {
  const int64_t partials = 2 * int64_t{kMaxQueries} * (value_width + 2) * static_cast<int64_t>(sizeof(float));
  return attend_scratch_bytes(std::max(query_width, value_width)) + partials + (gathered + 16) * row_bytes;
}

}  // namespace minke
