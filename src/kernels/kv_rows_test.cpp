// Heads of cache rows: what is stored is near what was given, and the same bytes on every instruction set.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/test_data.h"

namespace minke {
namespace {

std::vector<std::byte> stored(Isa isa, KvFormat format, const std::vector<float>& x) {
  const int width = static_cast<int>(x.size());
  std::vector<std::byte> head(static_cast<size_t>(kv_head_bytes(format, width)));
  kernels_for(isa).store_kv(format, x.data(), width, head.data());
  return head;
}

std::vector<float> back(KvFormat format, const std::vector<std::byte>& head, int width) {
  std::vector<float> y;
  for (int i = 0; i < width; ++i) y.push_back(kv_number(format, head.data(), width, i));
  return y;
}

float peak_of(const std::vector<float>& x, size_t first, size_t count) {
  float peak = 0;
  for (size_t i = first; i < std::min(x.size(), first + count); ++i) peak = std::max(peak, std::abs(x[i]));
  return peak;
}

// How far a number may be off: half a step, whose scale is rounded up to bf16.
float allowed(KvFormat format, const std::vector<float>& x, size_t i) {
  constexpr float kUp = 1 + 0x1p-7f;
  switch (format) {
    case KvFormat::f32: return 0;
    case KvFormat::bf16: return std::abs(x[i]) * 0x1p-8f;
    case KvFormat::int8: return peak_of(x, i / kKvGroup * kKvGroup, kKvGroup) / 127 / 2 * kUp;
    case KvFormat::fp8: break;
  }
  return std::max(std::abs(x[i]) * 0x1p-4f, peak_of(x, 0, x.size()) / 448 * 0x1p-6f * kUp) * (1 + 1e-6f);
}

TEST(KvRows, AreNearWhatWasGivenAndTheSameEverywhere) {
  Random random(3);
  for (const KvFormat format : kKvFormats) {
    for (const int width : {1, 2, 15, 16, 17, 40, 63, 64, 65, 100, 128, 192, 576}) {
      for (const float spread : {1.0f, 1e-6f, 3e4f}) {
        std::vector<float> x = random_floats(random, width, spread);
        for (float& v : x)
          if (random.below(20) == 0) v *= 100;  // some stand out, as channels of keys do
        const std::vector<std::byte> head = stored(Isa::scalar, format, x);
        const std::vector<float> y = back(format, head, width);
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_LE(std::abs(x[i] - y[i]), allowed(format, x, i)) << name(format) << ' ' << width << ' ' << i;
        for (const Isa isa : supported_isas()) {
          ASSERT_EQ(stored(isa, format, x), head) << name(isa) << ' ' << name(format) << ' ' << width;
          const int count = 1 + static_cast<int>(random.below(static_cast<uint64_t>(width)));
          std::vector<float> some(static_cast<size_t>(count));
          kernels_for(isa).load_kv(format, head.data(), width, count, some.data());
          ASSERT_TRUE(std::equal(some.begin(), some.end(), y.begin())) << name(isa) << ' ' << name(format);
        }
      }
    }
  }
}

TEST(KvRows, NothingStaysNothing) {
  for (const KvFormat format : kKvFormats) {
    for (const float x : {0.0f, 1e-38f, -1e-42f}) {
      const std::vector<float> given(70, x), y = back(format, stored(Isa::scalar, format, given), 70);
      for (const float v : y) ASSERT_LE(std::abs(v - x), 1e-37f) << name(format);
      for (const Isa isa : supported_isas())
        ASSERT_EQ(stored(isa, format, given), stored(Isa::scalar, format, given)) << name(isa);
    }
  }
}

TEST(KvRows, ZeroedRowsAreFinite) {  // pages are given out as zeros
  const std::vector<std::byte> zeros(static_cast<size_t>(kv_head_bytes(KvFormat::f32, 80)));
  for (const KvFormat format : kKvFormats)
    for (const float v : back(format, zeros, 80)) EXPECT_EQ(v, 0) << name(format);
}

TEST(KvRows, ScalesComeFirstAndFillWords) {
  EXPECT_EQ(kv_head_bytes(KvFormat::f32, 128), 512);
  EXPECT_EQ(kv_head_bytes(KvFormat::bf16, 128), 256);
  EXPECT_EQ(kv_head_bytes(KvFormat::int8, 128), 132);
  EXPECT_EQ(kv_head_bytes(KvFormat::int8, 576), 588);  // five scales
  EXPECT_EQ(kv_head_bytes(KvFormat::fp8, 128), 132);
  EXPECT_EQ(kv_format("int8"), KvFormat::int8);
  EXPECT_FALSE(kv_format("int4"));
}

}  // namespace
}  // namespace minke
