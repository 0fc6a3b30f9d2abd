// What the multiply units and the memory give at most, for shares of the limit.

#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// Enough to hide latencies (two units, five cycles), few enough that all stay in registers with their
// operands: spills would measure memory.
constexpr int kAccumulators = kTokenTile < 8 ? kTokenTile + 2 : 14;

int64_t spin_int8(int64_t rounds) {
  Part total[kAccumulators];
  Vi u = set1(0x01020304), s = set1(0x05060708);
  unroll<kAccumulators>([&](auto i) MINKE_INLINED {
    total[i] = zero_part();
    opaque(total[i]);  // else all of them are one
  });
  for (int64_t r = 0; r < rounds; ++r) {
    opaque(u);
    unroll<kAccumulators>([&](auto i) MINKE_INLINED { total[i] = dot_part(total[i], u, s); });
  }
  unroll<kAccumulators>([&](auto i) MINKE_INLINED { opaque(total[i]); });
  return rounds * kAccumulators * 16 * 4;
}

int64_t spin_f32(int64_t rounds) {
  Vf total[kAccumulators], a = set1(1.0f), b = set1(0.5f);
  unroll<kAccumulators>([&](auto i) MINKE_INLINED {
    total[i] = zero_f();
    opaque(total[i]);
  });
  for (int64_t r = 0; r < rounds; ++r) {
    opaque(a);
    unroll<kAccumulators>([&](auto i) MINKE_INLINED { total[i] = fma(a, b, total[i]); });
  }
  unroll<kAccumulators>([&](auto i) MINKE_INLINED { opaque(total[i]); });
  return rounds * kAccumulators * 16;
}

[[maybe_unused]] int64_t spin_bf16(int64_t rounds) {
  Vf total[kAccumulators];
  Vi a = set1(0x3f803f80), b = set1(0x3f003f00);  // ones and halves
  unroll<kAccumulators>([&](auto i) MINKE_INLINED {
    total[i] = zero_f();
    opaque(total[i]);
  });
  for (int64_t r = 0; r < rounds; ++r) {
    opaque(a);
    unroll<kAccumulators>([&](auto i) MINKE_INLINED { total[i] = dot_bf16(total[i], a, b); });
  }
  unroll<kAccumulators>([&](auto i) MINKE_INLINED { opaque(total[i]); });
  return rounds * kAccumulators * 16 * 2;
}

int64_t read(const std::byte* data, int64_t bytes, int streams, int64_t ahead) {
  constexpr int64_t kLine = 64;
  const int64_t each = bytes / streams / kLine * kLine;
  Vi total = zero_i();
  for (int64_t at = 0; at < each; at += kLine) {
    for (int i = 0; i < streams; ++i) {
      const std::byte* p = data + i * each + at;
      if (ahead > 0) __builtin_prefetch(p + ahead, 0, 2);
      total = bit_xor(total, load(reinterpret_cast<const int32_t*>(p)));
    }
  }
  opaque(total);
  return each * streams;
}

}  // namespace

void MINKE_FILL(probe)(Kernels& table) {
  table.spin_int8 = spin_int8;
  table.spin_f32 = spin_f32;
  table.spin_bf16 = kBf16Dots ? spin_bf16 : nullptr;
  table.read = read;
}

}  // namespace minke
