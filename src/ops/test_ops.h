#pragma once
// For tests: a context with memory for any small operation.

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
  static constexpr int kUnits = 64, kWidth = 128;
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
        for (int i = 0; i < part->width; ++i) {
          const float x = random.normal();
          std::byte* to = rows + row + part->offset + i * kv_bytes(part->format);
          if (part->format == KvFormat::f32) {
            std::memcpy(to, &x, 4);
          } else {
            const uint16_t h = f32_to_bf16(x);
            std::memcpy(to, &h, 2);
          }
        }
  }

  float at(const KvPart& part, const KvView& view, int token, int i) const {
    const std::byte* from = pool.row_at(0, view, token) + part.offset + i * kv_bytes(part.format);
    if (part.format == KvFormat::f32) {
      float x;
      std::memcpy(&x, from, 4);
      return x;
    }
    uint16_t h;
    std::memcpy(&h, from, 2);
    return bf16_to_f32(h);
  }

  KvPool pool;
};

}  // namespace minke
