#pragma once
// The inner loops, one table per instruction set. No threads, no allocation: callers split the work and lend
// the memory. Every table gives the same bits for the same input (simd.h says why).

#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/cpu.h"
#include "kernels/attention.h"
#include "kernels/dense.h"
#include "kernels/training.h"
#include "quant/mat.h"

namespace minke {

// How finely activations are rounded before they meet weights of some format.
enum class Grain : uint8_t {
  f32,   // not at all
  bf16,  // to bf16, for weights that are bf16 or have fewer bits: pairs of products where an instruction adds
         // them
  int8,  // under one f32 scale per 256 values times 1/8 .. 8/8 per 32: sums may stay integers over 256
};

// Groups of 32 whose peak is above this many times the mean of their row's peaks carry most of int8's
// rounding error: they get a second int8 each for what the first left over.
constexpr float kRestThreshold = 3.0f;

// What a product with this format takes by default.
Grain grain_for(Format weights);

// Activations as products read them: `tokens` rows of `cols` values, in blocks of 256 columns, each block in
// tiles of tokens.
struct Operand {
  const std::byte* data = nullptr;
  Grain grain = Grain::f32;
  int tokens = 0, cols = 0;
};

constexpr int kOperandBlock = 256;  // columns
constexpr int kTokenGroup = 8;  // rows of activations: a multiple of every instruction set's register tile
constexpr int kFewTokens = 16;  // that may meet weights on their way out of memory
constexpr int kPanel = 16;      // rows of a matrix that are multiplied together
constexpr int kMaxPanels = 4;   // panels one call of gemm takes at most

int64_t operand_bytes(Grain grain, int tokens, int cols);

constexpr int64_t kGemmScratch = 48 << 10;
// 64-byte aligned memory that gemm needs, per thread.
constexpr int64_t gemm_scratch_bytes(int tokens) {
  return kGemmScratch + int64_t{tokens} * kPanel * kMaxPanels * static_cast<int64_t>(sizeof(float));
}

// Rows [first, first + count) of an operand, blocks [block, end) of their columns. Rows of a group lie
// between each other, so that threads had better take different blocks of it than different rows.
struct OperandPart {
  int first, count;
  int block = 0, end = std::numeric_limits<int>::max();
};

// Token i of an operand of `count` tokens is to be row ids[i] of those at `rows`, each of which was prepared
// as an operand of its own, row_bytes apart; times factors[i] where they are given.
struct GatheredRows {
  const std::byte* rows;
  int64_t row_bytes;
  const int32_t* ids;
  const float* factors;
  int count, cols;
};

struct Kernels {
  Isa isa;

  // A part of x [tokens][cols] (rows stride floats apart) into its place in an operand's memory; groups of
  // kTokenGroup from the first token on lie together. Calls on different parts may run at once.
  void (*prepare)(Grain grain, const float* x, int64_t stride, int tokens, int cols, const OperandPart& part,
                  std::byte* out);
  // The operand of rows that were prepared one by one: the bytes prepare would have made of them together.
  void (*gather)(Grain grain, const GatheredRows& x, std::byte* out);

  // out[t * stride + r - first_row] (+)= W[r] . x[t] for rows [first_row, first_row + rows), all tokens. rows
  // <= kPanel * kMaxPanels. x.cols == w.cols. One order of sums per output, whatever the tokens, rows and
  // threads around it. For weights of blocks; x is of f32 or int8.
  void (*gemm)(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add,
               std::byte* scratch);

  // The same for weights that are floats, whichever way is faster; x is of f32, or of bf16 where grain_for
  // says so.
  void (*floats)(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                 bool add, std::byte* scratch);

  // gemm for an operand of one token, its rows read where they lie: false, and nothing done, where gemm
  // has to do it. Null where an instruction set has none.
  bool (*gemv)(const Mat& w, int first_row, int rows, const Operand& x, float* out, bool add);
  // And for an operand of 2 .. kFewTokens tokens.
  bool (*few)(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride, bool add);
  // And for an operand of 1 .. kFewTokens tokens and interleaved rows, of which the other two do nothing.
  bool (*few_interleaved)(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                          bool add);

  // By whichever way is faster; every way gives the same bits.
  void multiply(const Mat& w, int first_row, int rows, const Operand& x, float* out, int64_t stride,
                bool accumulate, std::byte* scratch) const {
    if (info(w.format).block == 1) return floats(w, first_row, rows, x, out, stride, accumulate, scratch);
    if (gemv && x.tokens == 1 && gemv(w, first_row, rows, x, out, accumulate)) return;
    const auto some = w.interleaved ? few_interleaved : x.tokens > 1 ? few : nullptr;
    if (some && x.tokens <= kFewTokens && some(w, first_row, rows, x, out, stride, accumulate)) return;
    gemm(w, first_row, rows, x, out, stride, accumulate, scratch);
  }

  // y = x / sqrt(mean(x^2) + eps) * w; w may be null (all ones). y may be x.
  void (*rmsnorm)(const float* x, const float* w, float eps, int n, float* y);
  // y = (x - mean) / sqrt(var + eps) * w + b, population variance. y may be x.
  void (*layernorm)(const float* x, const float* w, const float* b, float eps, int n, float* y);
  // Turns n / 2 pairs in place by the angles of cos, sin [n / 2]: pairs (2i, 2i + 1), or (i, i + n / 2) where
  // `half`.
  void (*rope)(float* x, const float* cos, const float* sin, int n, bool half);
  void (*silu_mul)(const float* gate, const float* up, int n,
                   float* y);                    // y = silu(gate) * up; y may be gate or up
  void (*softmax)(float* x, int n);              // in place
  void (*add)(float* y, const float* x, int n);  // y += x
  void (*scale_add)(float* y, const float* x, float scale, int n);  // y += scale * x
  void (*scale)(float* x, float scale, int n);                      // x *= scale
  float (*dot)(const float* a, const float* b, int n);

  void (*attend)(const AttendSpan& span, std::byte* scratch);
  // scores[s - first] += sum over heads of w[h] * relu(q[h] . key s) for keys [first, last), first a multiple
  // of 16; q [heads][keys.width], heads at most kMaxQueries.
  void (*index_scores)(const float* q, const float* w, int heads, const KeyRows& keys, int first, int last,
                       float* scores, std::byte* scratch);
  // Probes: multiply-adds done in registers alone; bytes read from `streams` places of [data, data + bytes)
  // in turn, 64 at a time, `ahead` bytes prefetched (0: none).
  int64_t (*spin_int8)(int64_t rounds);
  int64_t (*spin_f32)(int64_t rounds);
  int64_t (*spin_bf16)(int64_t rounds);  // null where there is no such instruction
  int64_t (*read)(const std::byte* data, int64_t bytes, int streams, int64_t ahead);

  void (*to_bf16)(const float* x, int n, uint16_t* out);  // to nearest even; x finite
  // `width` numbers, finite, to a head of a cache row (kv_format.h), rounded to nearest even.
  void (*store_kv)(KvFormat format, const float* x, int width, std::byte* head);
  // The first `count` numbers of such a head.
  void (*load_kv)(KvFormat format, const std::byte* head, int width, int count, float* x);

  bool dense_pairs;  // two bf16 share a word of a panel; else each has one
  int dense_words(bool bf16, int depth) const {
    const int pairs = (depth + 1) / 2;
    return bf16 && dense_pairs ? pairs : 2 * pairs;
  }
  // All lanes to panels, panel_bytes apart.
  void (*dense_pack)(const DenseSource& source, std::byte* out, int64_t panel_bytes);
  void (*dense_multiply)(const DenseBlock& block);

  TrainingKernels training;
};

// The table of an instruction set; it must be supported here.
const Kernels& kernels_for(Isa isa);

}  // namespace minke
