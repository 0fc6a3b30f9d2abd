#pragma once
// Random weights of every format, for the tests of kernels and operations.

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/float.h"
#include "base/random.h"
#include "kernels/kernels.h"
#include "quant/mat.h"

namespace minke {

// A matrix that owns its bytes.
struct OwnedMat {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  Mat mat;
};

// Where a block of the format keeps its f16 scales.
inline std::vector<int> half_offsets(Format format) {
  switch (format) {
    case Format::q4_0:
    case Format::q5_0:
    case Format::q8_0:
    case Format::iq4_nl:
    case Format::iq4_xs:
    case Format::iq3_s:
    case Format::iq3_xxs:
    case Format::iq2_s:
    case Format::iq2_xs:
    case Format::iq2_xxs:
    case Format::iq1_s: return {0};
    case Format::q4_1:
    case Format::q5_1:
    case Format::q4_k:
    case Format::q5_k: return {0, 2};
    case Format::q2_k: return {80, 82};
    case Format::q3_k: return {108};
    case Format::q6_k: return {208};
    default: return {};
  }
}

// Random codes under random scales of either sign, values around 1.
inline OwnedMat random_mat(Random& random, Format format, int rows, int cols) {
  const FormatInfo& f = info(format);
  OwnedMat m;
  const int64_t stride = row_bytes(format, cols);
  m.bytes.resize(static_cast<size_t>(stride * rows));
  for (auto& b : m.bytes) b = static_cast<std::byte>(random.bits());
  const auto put_half = [&](size_t at, float value) {
    const uint16_t h = format == Format::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
    std::memcpy(&m.bytes[at], &h, 2);
  };
  for (size_t block = 0; block < m.bytes.size(); block += static_cast<size_t>(f.block_bytes)) {
    for (const int offset : half_offsets(format))
      put_half(block + static_cast<size_t>(offset), random.normal() * 0.01f);
    if (format == Format::f16 || format == Format::bf16) put_half(block, random.normal());
    if (format == Format::iq1_m) {  // quarters of an f16 in the top bits of four scales
      const int scale = f32_to_f16(random.normal() * 0.1f);
      for (size_t k = 0; k < 4; ++k) {
        std::byte& top = m.bytes[block + 49 + 2 * k];
        top = (top & std::byte{15}) | static_cast<std::byte>((scale >> 4 * k & 15) << 4);
      }
    }
    if (format == Format::mxfp4) m.bytes[block] = static_cast<std::byte>(120 + random.below(10));
    if (format == Format::f8_e4m3 && (std::to_integer<int>(m.bytes[block]) & 0x7f) == 0x7f)
      m.bytes[block] = std::byte{0};
    if (format == Format::f32) {
      const float value = random.normal();
      std::memcpy(&m.bytes[block], &value, 4);
    }
  }
  if (format == Format::f8_e4m3) {
    m.scales.resize(static_cast<size_t>(scale_blocks(rows) * scale_blocks(cols)));
    for (float& s : m.scales) s = 0.01f + 0.01f * static_cast<float>(random.uniform());
  }
  m.mat = {m.bytes.data(), m.scales.empty() ? nullptr : m.scales.data(), format, rows, cols, stride};
  return m;
}

// Every bit of a block set but those of its f16 scales: the largest codes under the largest scales.
inline void saturate(OwnedMat& m) {
  const auto block = static_cast<size_t>(info(m.mat.format).block_bytes);
  const std::vector<int> halves = half_offsets(m.mat.format);
  for (size_t i = 0; i < m.bytes.size(); ++i) {
    const int at = static_cast<int>(i % block);
    if (std::ranges::none_of(halves, [&](int h) { return at == h || at == h + 1; }))
      m.bytes[i] = std::byte{255};
  }
}

inline std::vector<float> random_floats(Random& random, int64_t n, float spread = 1.0f) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = random.normal() * spread;
  return x;
}

// Zeroed memory aligned to 64 bytes.
class Aligned {
 public:
  explicit Aligned(int64_t bytes) : storage_(static_cast<size_t>(bytes) + 64) {}
  std::byte* data() {
    return storage_.data() + (64 - reinterpret_cast<uintptr_t>(storage_.data()) % 64) % 64;
  }

 private:
  std::vector<std::byte> storage_;
};

}  // namespace minke
