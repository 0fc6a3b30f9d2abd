#include "ops/decompress.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/linear.h"
#include "ops/partial.h"

namespace minke {
namespace {

constexpr int kPiece = 512;  // keys that are made at once, for one head: they stay in L2
constexpr int kRowsAtOnce = kPanel * kMaxPanels;
static_assert(kDecompressed % kPiece == 0 && kPiece % kKeyChunk == 0 && kPiece <= kSpan);

// What a thread works with, for one head and one piece.
struct Scratch {
  int thread;
  std::byte* kernel;  // of gemm and of attend, which take turns
  float* made;        // [kPiece][widest(shape)]
  float* out;         // [kMaxQueries][v]
  std::byte* keys;    // [kPiece] heads of a key and a value, in the format of key_format
};

// That of the cache, but for fp8, whose products are bf16's.
KvFormat key_format(const LatentShape& s) {
  return s.latent.format == KvFormat::fp8 ? KvFormat::bf16 : s.latent.format;
}

int key_width(const LatentShape& s) { return s.nope + s.rope; }
int widest(const LatentShape& s) { return std::max(key_width(s), s.v); }

int64_t key_bytes(const LatentShape& s) { return kv_head_bytes(key_format(s), key_width(s)); }
int64_t key_row_bytes(const LatentShape& s) { return key_bytes(s) + kv_head_bytes(key_format(s), s.v); }

int64_t kernel_bytes(const LatentShape& s) {
  return std::max(gemm_scratch_bytes(kPiece), attend_scratch_bytes(widest(s)));
}

constexpr int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t made_bytes(const LatentShape& s) { return aligned(int64_t{kPiece} * widest(s) * 4); }

Scratch scratch_of(const LatentShape& s, const Workspace& work, int thread) {
  std::byte* memory = work.scratch_of(thread);
  Scratch r;
  r.thread = thread;
  r.kernel = memory;
  memory += aligned(kernel_bytes(s));
  r.made = reinterpret_cast<float*>(memory);
  memory += made_bytes(s);
  r.out = reinterpret_cast<float*>(memory);
  r.keys = memory + aligned(int64_t{kMaxQueries} * s.v * 4);
  return r;
}

struct Pass {
  const Context& ctx;
  const Workspace& work;
  const KvPool& pool;
  int layer;
  const LatentShape& shape;
  const Mat &k_nope, &v_b;
  const DecompressSpace& space;
  const float* q;
  float* out;

  std::byte* keys_operand() const { return work.operands; }
  std::byte* values_operand() const {
    const Grain grain = grain_of(ctx, k_nope);
    return grain == grain_of(ctx, v_b) ? work.operands
                                       : work.operands + operand_bytes(grain, kDecompressed, shape.kv_lora);
  }

  // The latents of keys [first, last), in f32 and as operands of both products.
  void prepare(const Run& run, int first, int last) const {
    const int count = last - first, cols = shape.kv_lora, width = shape.latent.width;
    const Grain grain = grain_of(ctx, k_nope), other = grain_of(ctx, v_b);
    ctx.pool.for_each(count, kTokenGroup, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        ctx.kernels.load_kv(shape.latent.format,
                            pool.row_at(layer, *run.kv, first + static_cast<int>(i)) + shape.latent.offset,
                            width, width, space.latents + i * width);
      const auto write = [&](Grain g, std::byte* to) {
        for (int piece = 0; piece < count; piece += kPiece) {  // an operand of its own each
          const int low = std::max(static_cast<int>(begin), piece),
                    high = std::min(static_cast<int>(end), piece + kPiece);
          if (low < high)
            ctx.kernels.prepare(g, space.latents + int64_t{piece} * width, width,
                                std::min(kPiece, count - piece), cols, {low - piece, high - low},
                                to + operand_bytes(g, piece, cols));
        }
      };
      write(grain, keys_operand());
      if (other != grain) write(other, values_operand());
    });
  }

  // made = rows [first, first + count) of w times the latents of a piece.
  void make(const Mat& w, int first, int count, const Operand& x, const Scratch& s) const {
    const int stride = widest(shape);
    for (int r = 0; r < count; r += kRowsAtOnce)
      ctx.kernels.multiply(near(ctx, w, s.thread), first + r, std::min(kRowsAtOnce, count - r), x, s.made + r,
                           stride, false, s.kernel);
  }

  // `made` as heads of `width` numbers, at `offset` of the keys' rows.
  void store(int count, int width, int64_t offset, const Scratch& s) const {
    for (int t = 0; t < count; ++t)
      ctx.kernels.store_kv(key_format(shape), s.made + int64_t{t} * widest(shape), width,
                           s.keys + t * key_row_bytes(shape) + offset);
  }

  // The keys of one head in one piece of a span, `count` of them.
  void make_keys(int head, int count, int piece, const Scratch& s) const {
    const auto operand = [&](const Mat& w, std::byte* data) {
      const Grain grain = grain_of(ctx, w);
      return Operand{data + operand_bytes(grain, piece * kPiece, shape.kv_lora), grain, count, shape.kv_lora};
    };
    make(v_b, head * shape.v, shape.v, operand(v_b, values_operand()), s);
    store(count, shape.v, key_bytes(shape), s);
    make(k_nope, head * shape.nope, shape.nope, operand(k_nope, keys_operand()), s);
    const float* turned = space.latents + int64_t{piece} * kPiece * shape.latent.width + shape.kv_lora;
    for (int t = 0; t < count; ++t)
      std::copy_n(turned + int64_t{t} * shape.latent.width, shape.rope,
                  s.made + int64_t{t} * widest(shape) + shape.nope);
    store(count, key_width(shape), 0, s);
    const int64_t row_bytes = key_row_bytes(shape);
    const int padded = (count + 15) / 16 * 16;
    std::memset(s.keys + count * row_bytes, 0, static_cast<size_t>((padded - count) * row_bytes));
  }

  // Queries [begin, end) of the run, all of one head, over keys [first, first + count), added to what they
  // have.
  void meet(const Run& run, int head, int begin, int end, int first, int count, const Scratch& s) const {
    const float* rows[kMaxQueries];
    int from[kMaxQueries] = {}, until[kMaxQueries];
    float peaks[kMaxQueries], masses[kMaxQueries];
    const KvFormat format = key_format(shape);
    const auto rows_at = [&](int64_t offset, int width) {
      const int64_t numbers = offset + kv_scale_bytes(format, width);
      return KeyRows{s.keys, nullptr, key_row_bytes(shape), numbers, format, width, offset};
    };
    const KeyRows keys = rows_at(0, key_width(shape)), values = rows_at(key_bytes(shape), shape.v);
    const int queries = end - begin;
    for (int i = 0; i < queries; ++i) {
      rows[i] = q + (int64_t{run.row + begin + i} * shape.heads + head) * keys.width;
      until[i] = std::clamp(run.position + begin + i + 1 - first, 0, count);
    }
    ctx.kernels.attend({rows, queries, from, until, keys, values, 0, count, s.out, peaks, masses}, s.kernel);
    for (int i = 0; i < queries; ++i) {
      const int64_t at = int64_t{run.row + begin + i} * shape.heads + head;
      if (first == 0) space.peak[at] = kNoPeak, space.mass[at] = 0;
      merge_row(ctx.kernels, shape.v, {s.out + i * shape.v, peaks + i, masses + i},
                {out + at * shape.v, space.peak + at, space.mass + at});
    }
  }

  // Some queries of one head over a span of keys.
  void span(const Run& run, int head, int begin, int end, int first, int last, const Scratch& s) const {
    for (int piece = first; piece < last; piece += kPiece) {
      const int count = std::min(kPiece, last - piece);
      if (run.position + end <= piece) return;  // none of them sees these keys
      make_keys(head, count, (piece - first) / kPiece, s);
      for (int i = begin; i < end; i += kMaxQueries)
        if (run.position + std::min(end, i + kMaxQueries) > piece)
          meet(run, head, i, std::min(end, i + kMaxQueries), piece, count, s);
    }
  }

  void operator()(const Run& run) const {
    // Where heads are few, each is shared by several threads, which make its keys more than once.
    const int groups = (run.count + kMaxQueries - 1) / kMaxQueries;
    const int parts = std::clamp((4 * ctx.pool.size() + shape.heads - 1) / shape.heads, 1, groups);
    const int per_part = (groups + parts - 1) / parts * kMaxQueries, end = run.position + run.count;
    for (int first = 0; first < end; first += kDecompressed) {
      const int last = std::min(end, first + kDecompressed);
      prepare(run, first, last);
      ctx.pool.for_each(int64_t{shape.heads} * parts, 1, [&](int64_t i, int64_t, int thread) {
        const int head = static_cast<int>(i / parts), begin = static_cast<int>(i % parts) * per_part;
        if (begin >= run.count) return;
        span(run, head, begin, std::min(run.count, begin + per_part), first, last,
             scratch_of(shape, work, thread));
      });
    }
    ctx.pool.for_each(run.count, 8, [&](int64_t begin, int64_t stop, int) {
      for (int64_t i = (run.row + begin) * shape.heads; i < (run.row + stop) * shape.heads; ++i)
        ctx.kernels.scale(out + i * shape.v, 1.0f / space.mass[i], shape.v);
    });
  }
};

}  // namespace

bool decompresses(const LatentShape& s, int position, int given) {
  if (position >= given) return false;
  const int block = position / kFormBlock * kFormBlock;
  const int64_t queries = std::min(kFormBlock, given - block), keys = block + queries;
  // What making a key and a value takes is done in int8, twice as fast as attention's bf16 and as fast as its
  // int8; the absorbed form does as much for every query.
  const int64_t make = int64_t{s.kv_lora} * (s.nope + s.v), dear = key_format(s) == KvFormat::int8 ? 1 : 2,
                saved = dear * (2 * int64_t{s.kv_lora} - s.nope - s.v);
  return queries * (keys * saved + make) >= keys * make;
}

void decompressed_attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                            const LatentShape& shape, const Mat& k_nope, const Mat& v_b,
                            std::span<const Run> runs, const DecompressSpace& space, const float* q,
                            float* out) {
  MINKE_CHECK(k_nope.rows == shape.heads * shape.nope && k_nope.cols == shape.kv_lora);
  MINKE_CHECK(v_b.rows == shape.heads * shape.v && v_b.cols == shape.kv_lora);
  const Pass pass{ctx, work, pool, layer, shape, k_nope, v_b, space, q, out};
  for (const Run& run : runs) pass(run);
}

void transpose_heads(const Context& ctx, const Mat& k_b, int heads, const Mat& to) {
  const int kv_lora = k_b.rows / heads, nope = k_b.cols;
  MINKE_CHECK(to.rows == heads * nope && to.cols == kv_lora && info(to.format).quantize);
  ctx.pool.for_each(heads, 1, [&](int64_t head, int64_t, int) {
    std::vector<float> row(static_cast<size_t>(nope)), all(static_cast<size_t>(nope) * kv_lora);
    for (int c = 0; c < kv_lora; ++c) {
      dequantize_row(k_b, head * kv_lora + c, row.data());
      for (int i = 0; i < nope; ++i) all[static_cast<size_t>(i) * kv_lora + c] = row[static_cast<size_t>(i)];
    }
    for (int i = 0; i < nope; ++i)
      info(to.format).quantize(all.data() + int64_t{i} * kv_lora,
                               const_cast<std::byte*>(to.row(head * nope + i)), kv_lora);
  });
}

int64_t decompress_operand_bytes(const LatentShape& s, bool wide) {
  return 2 * operand_bytes_at_most(kDecompressed, s.kv_lora, wide);
}

int64_t decompress_scratch_bytes(const LatentShape& s) {
  return aligned(kernel_bytes(s)) + made_bytes(s) + aligned(int64_t{kMaxQueries} * s.v * 4) +
         aligned(kPiece * key_row_bytes(s));
}

}  // namespace minke
