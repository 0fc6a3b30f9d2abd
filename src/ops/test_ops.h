#pragma once
// For tests: a context with memory for any small operation.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/isas.h"
#include "kernels/test_data.h"
#include "kv/pool.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/workspace.h"

namespace minke {

class TestContext {
 public:
  explicit TestContext(int threads, bool round_activations = false, Isa isa = usable_isas().back())
      : pool_(threads),
        ctx{pool_, kernels_for(isa), Comm{}, round_activations},
        operands_(kOperands),
        scratch_(kScratch * threads),
        partials_(int64_t{kUnits} * kMaxQueries * (kWidth + 2) * 4) {
    work = {
        operands_.data(), kOperands, scratch_.data(), kScratch, reinterpret_cast<float*>(partials_.data()),
        kUnits,           kWidth};
  }

 private:
  static constexpr int64_t kOperands = 16 << 20, kScratch = 4 << 20;
  static constexpr int kUnits = 64, kWidth = 160;
  ThreadPool pool_;

 public:
  Context ctx;
  Workspace work;

 private:
  Aligned operands_, scratch_, partials_;
};

// A pool of one layer whose rows hold random numbers, and sequences over it.
class TestCache {
 public:
  TestCache(Random& random, KvRow parts, int pages) : pool({lay_out(parts)}, pages) {
    auto* rows = pool.base(0);
    const int64_t bytes = pool.row(0).bytes * kPageTokens * pages;
    for (int64_t row = 0; row < bytes; row += pool.row(0).bytes)
      for (const KvPart* part :
           {&pool.row(0).key, &pool.row(0).value, &pool.row(0).latent, &pool.row(0).index})
        for (int h = 0; part->width > 0 && h < part->heads; ++h)
          kernels_for(Isa::scalar)
              .store_kv(part->format, random_floats(random, part->head_width()).data(), part->head_width(),
                        rows + row + part->offset + h * part->head_bytes());
  }

  float at(const KvPart& part, const KvView& view, int token, int i) const {
    const int width = part.head_width();
    const std::byte* head = pool.row_at(0, view, token) + part.offset + i / width * part.head_bytes();
    return kv_number(part.format, head, width, i % width);
  }

  // The scale that this number shares with others; 1 where the format has none.
  float scale_at(const KvPart& part, const KvView& view, int token, int i) const {
    const int width = part.head_width(), scales = kv_scales(part.format, width);
    if (scales == 0) return 1;
    const std::byte* head = pool.row_at(0, view, token) + part.offset + i / width * part.head_bytes();
    uint16_t bits;
    std::memcpy(&bits, head + (part.format == KvFormat::int8 ? i % width / kKvGroup * 2 : 0), 2);
    return bf16_to_f32(bits);
  }

  KvPool pool;
};

// A query as attention over a cache of this format multiplies it.
inline std::vector<double> rounded_query(KvFormat format, const float* q, int width) {
  std::vector<double> r(q, q + width);
  if (format == KvFormat::bf16 || format == KvFormat::fp8)
    for (double& x : r) x = bf16_to_f32(f32_to_bf16(static_cast<float>(x)));
  for (int first = 0; format == KvFormat::int8 && first < width; first += kKvGroup) {
    const int last = std::min(width, first + kKvGroup);
    float peak = 0;
    for (int i = first; i < last; ++i) peak = std::max(peak, std::abs(q[i]));
    const float scale = peak * (1.0f / 127.0f), inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int i = first; i < last; ++i)
      r[static_cast<size_t>(i)] = double{scale} * std::nearbyint(q[i] * inverse);
  }
  return r;
}

}  // namespace minke
