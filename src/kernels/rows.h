#pragma once
// Sixteen rows of a matrix at one block, as unpackers read them: words(offset, out) gives the four dwords at
// `offset` of every row, word(offset) the one, half(offset) an f16 as f32, halves(offset) two of them,
// half_and_word(offset) one and the dword behind it, and last_half an f16 at the end of the block.
// group(bytes) is what lies so many bytes further along each row. kLoads: words are loads, which may as well
// be done twice.

#include "kernels/simd.h"
#include "quant/interleave.h"

namespace minke {
namespace {

struct Halves {
  Vf first, second;
};
struct HalfAndWord {
  Vf half;
  Vi word;
};

// Rows as they lie in files.
struct Walk {
  static constexpr bool kLoads = false;
  SixteenRows rows;

  MINKE_INLINE void words(int offset, Vi out[4]) const { transpose4(rows, offset, out); }
  MINKE_INLINE Vi word(int offset) const { return column_u32(rows, offset); }
  MINKE_INLINE Vf half(int offset) const { return half_to_float(word(offset)); }
  MINKE_INLINE Vf last_half(int offset) const { return half_to_float(shr<16>(word(offset - 2))); }
  MINKE_INLINE Halves halves(int offset) const {
    const Vi both = word(offset);
    return {half_to_float(both), half_to_float(shr<16>(both))};
  }
  MINKE_INLINE HalfAndWord half_and_word(int offset) const {
    Vi w[2];
    columns_u64(rows, offset, w);
    return {half_to_float(w[0]), bit_or(shr<16>(w[0]), shl<16>(w[1]))};
  }
  MINKE_INLINE Walk group(int bytes) const { return {rows.further(bytes)}; }
};

// Interleaved ones.
template <Format format>
struct Interleaved {
  static constexpr bool kLoads = true;
  const std::byte* base;  // all rows' block

  MINKE_INLINE const int32_t* at(int offset) const {
    return reinterpret_cast<const int32_t*>(base + kInterleavedRows * interleaved_at(format, offset));
  }
  MINKE_INLINE void words(int offset, Vi out[4]) const {
    const int32_t* from = at(offset);
    unroll<4>([&](auto j) MINKE_INLINED { out[j] = load(from + kInterleavedRows * j); });
  }
  MINKE_INLINE Vi word(int offset) const { return load(at(offset)); }
  MINKE_INLINE Vf half(int offset) const { return load_f16(at(offset)); }
  MINKE_INLINE Vf last_half(int offset) const { return half(offset); }
  MINKE_INLINE Halves halves(int offset) const { return {half(offset), half(offset + 2)}; }
  MINKE_INLINE HalfAndWord half_and_word(int offset) const { return {half(offset), word(offset + 2)}; }
  MINKE_INLINE Interleaved group(int bytes) const { return {base + kInterleavedRows * bytes}; }
};

}  // namespace
}  // namespace minke
