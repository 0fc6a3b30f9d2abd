#pragma once
// Latent attention (MLA) in decompressed form: the keys and values of every head are made from the cached
// latents, a piece of the context at a time, and all queries of a step meet them. Per query, key and head
// this takes nope + rope + v multiplications where the absorbed form takes 2 kv_lora + rope, but making a key
// and a value takes (nope + v) kv_lora more: it pays where many queries come at once.
// docs/decisions/mla_forms.md.

#include <span>

#include "ops/attention.h"
#include "ops/context.h"
#include "ops/workspace.h"
#include "quant/mat.h"

namespace minke {

struct LatentShape {
  int heads, nope, rope, v, kv_lora;
  KvPart latent;  // inside a cache row: [kv_lora], then [rope]
};

// Positions share one form in blocks of so many, counted from the sequence's start.
constexpr int kFormBlock = 512;

// Whether the given token at `position` of a sequence attends in decompressed form, of which tokens
// [0, given) were handed in: depends on nothing else, so that neither chunks nor other sequences change an
// answer.
bool decompresses(const LatentShape& shape, int position, int given);

constexpr int kDecompressed = 2048;  // latents that are read at once

// Memory for the rows of one call: what was summed so far.
struct DecompressSpace {
  float* latents;  // [kDecompressed][kv_lora + rope]
  float* peak;     // [rows][heads]
  float* mass;     // [rows][heads]
};

// out[r][h] = sum over s of softmax_s(q[r][h] . (k_nope[h] latent_s, rope_s)) v_b[h] latent_s for the rows of
// the runs. q [rows][heads][nope + rope], scaled and turned; out [rows][heads][v]. k_nope [heads * nope]
// [kv_lora], v_b [heads * v][kv_lora].
void decompressed_attention(const Context& ctx, const Workspace& work, const KvPool& pool, int layer,
                            const LatentShape& shape, const Mat& k_nope, const Mat& v_b,
                            std::span<const Run> runs, const DecompressSpace& space, const float* q,
                            float* out);

// k_nope of a matrix k_b [heads * kv_lora][nope], each head transposed: to rows of `to.format` that the
// caller has made room for.
void transpose_heads(const Context& ctx, const Mat& k_b, int heads, const Mat& to);

int64_t decompress_operand_bytes(const LatentShape& shape, bool wide);
int64_t decompress_scratch_bytes(const LatentShape& shape);

}  // namespace minke
