#pragma once
// The vocabulary over NEON with the dot-product instructions (Armv8.2): each word is four quarters. simd.h
// says what each word means.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace minke {
namespace {

constexpr int kTokenTile = 2;

struct Vf {
  float32x4_t q[4];
};
struct Vi {
  int32x4_t q[4];
};

#define MINKE_QUARTERS for (int i = 0; i < 4; ++i)

inline Vf set1(float x) {
  Vf r;
  MINKE_QUARTERS r.q[i] = vdupq_n_f32(x);
  return r;
}
inline Vi set1(int32_t x) {
  Vi r;
  MINKE_QUARTERS r.q[i] = vdupq_n_s32(x);
  return r;
}
inline Vf zero_f() { return set1(0.0f); }
inline Vi zero_i() { return set1(0); }
inline Vf load(const float* p) {
  Vf r;
  MINKE_QUARTERS r.q[i] = vld1q_f32(p + 4 * i);
  return r;
}
inline Vi load(const int32_t* p) {
  Vi r;
  MINKE_QUARTERS r.q[i] = vld1q_s32(p + 4 * i);
  return r;
}
inline void store(float* p, Vf a) { MINKE_QUARTERS vst1q_f32(p + 4 * i, a.q[i]); }
inline void store(int32_t* p, Vi a) { MINKE_QUARTERS vst1q_s32(p + 4 * i, a.q[i]); }
inline Vf load_first(const float* p, int n) {
  float lanes[16] = {};
  if (n > 0) std::memcpy(lanes, p, static_cast<size_t>(n < 16 ? n : 16) * 4);
  return load(lanes);
}
inline void store_first(float* p, Vf a, int n) {
  float lanes[16];
  store(lanes, a);
  if (n > 0) std::memcpy(p, lanes, static_cast<size_t>(n < 16 ? n : 16) * 4);
}

inline Vf add(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vaddq_f32(a.q[i], b.q[i]);
  return a;
}
inline Vf sub(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vsubq_f32(a.q[i], b.q[i]);
  return a;
}
inline Vf mul(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vmulq_f32(a.q[i], b.q[i]);
  return a;
}
inline Vf div(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vdivq_f32(a.q[i], b.q[i]);
  return a;
}
inline Vf fma(Vf a, Vf b, Vf c) {
  MINKE_QUARTERS c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
  return c;
}
inline Vf max(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]);
  return a;
}
inline Vf min(Vf a, Vf b) {
  MINKE_QUARTERS a.q[i] = vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]);
  return a;
}
inline Vf abs(Vf a) {
  MINKE_QUARTERS a.q[i] = vabsq_f32(a.q[i]);
  return a;
}

inline Vi add(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = vaddq_s32(a.q[i], b.q[i]);
  return a;
}
inline Vi sub(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = vsubq_s32(a.q[i], b.q[i]);
  return a;
}
inline Vi mul(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = vmulq_s32(a.q[i], b.q[i]);
  return a;
}
inline Vi bit_and(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = vandq_s32(a.q[i], b.q[i]);
  return a;
}
inline Vi bit_or(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = vorrq_s32(a.q[i], b.q[i]);
  return a;
}
inline Vi bit_xor(Vi a, Vi b) {
  MINKE_QUARTERS a.q[i] = veorq_s32(a.q[i], b.q[i]);
  return a;
}
template <int n>
inline Vi shl(Vi a) {
  MINKE_QUARTERS a.q[i] = vshlq_n_s32(a.q[i], n);
  return a;
}
template <int n>
inline Vi shr(Vi a) {
  MINKE_QUARTERS a.q[i] = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a.q[i]), n));
  return a;
}
template <int n>
inline Vi sar(Vi a) {
  MINKE_QUARTERS a.q[i] = vshrq_n_s32(a.q[i], n);
  return a;
}

inline Vf to_float(Vi a) {
  Vf r;
  MINKE_QUARTERS r.q[i] = vcvtq_f32_s32(a.q[i]);
  return r;
}
inline Vi to_int(Vf a) {
  Vi r;
  MINKE_QUARTERS r.q[i] = vcvtnq_s32_f32(a.q[i]);
  return r;
}
inline Vi as_int(Vf a) {
  Vi r;
  MINKE_QUARTERS r.q[i] = vreinterpretq_s32_f32(a.q[i]);
  return r;
}
inline Vf as_float(Vi a) {
  Vf r;
  MINKE_QUARTERS r.q[i] = vreinterpretq_f32_s32(a.q[i]);
  return r;
}

inline Vi broadcast4(const void* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return set1(x);
}

inline Vi dot7(Vi acc, Vi u, Vi s) {  // codes up to 127 are signed bytes as well
  MINKE_QUARTERS acc.q[i] = vdotq_s32(acc.q[i], vreinterpretq_s8_s32(u.q[i]), vreinterpretq_s8_s32(s.q[i]));
  return acc;
}
inline Vi dot8(Vi acc, Vi u, Vi s) {  // u = (u - 128) + 128, and u - 128 is a signed byte
  const int8x16_t ones = vdupq_n_s8(1);
  MINKE_QUARTERS {
    const int8x16_t x = vreinterpretq_s8_s32(s.q[i]);
    const int8x16_t centred = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_s32(u.q[i]), vdupq_n_u8(128)));
    const int32x4_t sums = vdotq_s32(vdupq_n_s32(0), ones, x);
    acc.q[i] = vaddq_s32(vdotq_s32(acc.q[i], centred, x), vshlq_n_s32(sums, 7));
  }
  return acc;
}
inline Vi dot16(Vi acc, Vi a, Vi b) {
  MINKE_QUARTERS {
    const int16x8_t x = vreinterpretq_s16_s32(a.q[i]), y = vreinterpretq_s16_s32(b.q[i]);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
    acc.q[i] = vaddq_s32(acc.q[i], vpaddq_s32(low, high));
  }
  return acc;
}

// Lanes hold any number of dots.
using Part = Vi;
constexpr int part_dots(int) { return 64; }
inline Part zero_part() { return zero_i(); }
inline Part dot_part(Part p, Vi u, Vi s) { return dot7(p, u, s); }
inline Vi add_part(Vi acc, Part p) { return add(acc, p); }
inline Vi scale_word(Vi scale) { return scale; }
inline Vi add_scaled(Vi acc, Part p, Vi scale) { return add(acc, mul(p, scale)); }

constexpr bool kSignedCodes = false;
inline Vi dot_wide(Vi acc, Vi codes, Vi s) { return dot8(acc, codes, s); }

inline Vi lookup16(Vi nibbles, const int8_t* table) {
  const int8x16_t t = vld1q_s8(table);
  MINKE_QUARTERS nibbles.q[i] = vreinterpretq_s32_s8(vqtbl1q_s8(t, vreinterpretq_u8_s32(nibbles.q[i])));
  return nibbles;
}

inline Vf load_f16(const void* p) {
  Vf r;
  MINKE_QUARTERS {
    const uint16x4_t h = vld1_u16(static_cast<const uint16_t*>(p) + 4 * i);
    r.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(h));
  }
  return r;
}
inline Vi load_u16(const void* p) {
  Vi r;
  MINKE_QUARTERS r.q[i] = vreinterpretq_s32_u32(vmovl_u16(vld1_u16(static_cast<const uint16_t*>(p) + 4 * i)));
  return r;
}
inline Vf load_bf16(const void* p) { return as_float(shl<16>(load_u16(p))); }
inline Vi load_i8(const void* p) {
  const int8x16_t x = vld1q_s8(static_cast<const int8_t*>(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
           vmovl_high_s16(high)}};
}
inline Vi load_u8(const void* p) {
  const uint8x16_t x = vld1q_u8(static_cast<const uint8_t*>(p));
  const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
  return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_high_u16(low)),
           vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
           vreinterpretq_s32_u32(vmovl_high_u16(high))}};
}
inline void store_u16(uint16_t* p, Vi a) {
  MINKE_QUARTERS vst1_u16(p + 4 * i, vmovn_u32(vreinterpretq_u32_s32(a.q[i])));
}
inline void store_i8(int8_t* p, Vi a) {
  const int16x8_t low = vcombine_s16(vmovn_s32(a.q[0]), vmovn_s32(a.q[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(a.q[2]), vmovn_s32(a.q[3]));
  vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
inline Vf half_to_float(Vi a) {
  Vf r;
  MINKE_QUARTERS r.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(a.q[i]))));
  return r;
}

template <typename Rows>
inline void transpose4(const Rows& rows, int offset, Vi out[4]) {
  MINKE_QUARTERS {
    const auto row = [&](int r) {
      return vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(rows[4 * i + r] + offset)));
    };
    const int32x4_t a = row(0), b = row(1), c = row(2), d = row(3);
    const int64x2_t ab0 = vreinterpretq_s64_s32(vtrn1q_s32(a, b)),
                    ab1 = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
    const int64x2_t cd0 = vreinterpretq_s64_s32(vtrn1q_s32(c, d)),
                    cd1 = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
    out[0].q[i] = vreinterpretq_s32_s64(vtrn1q_s64(ab0, cd0));
    out[1].q[i] = vreinterpretq_s32_s64(vtrn1q_s64(ab1, cd1));
    out[2].q[i] = vreinterpretq_s32_s64(vtrn2q_s64(ab0, cd0));
    out[3].q[i] = vreinterpretq_s32_s64(vtrn2q_s64(ab1, cd1));
  }
}

inline float sum(Vf a) {
  const float32x4_t q = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
  const float32x2_t p = vadd_f32(vget_low_f32(q), vget_high_f32(q));
  return vget_lane_f32(p, 0) + vget_lane_f32(p, 1);
}
inline float largest(Vf a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.q[0], a.q[1]), vmaxq_f32(a.q[2], a.q[3])));
}
inline int32_t sum(Vi a) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(a.q[0], a.q[1]), vaddq_s32(a.q[2], a.q[3])));
}

#undef MINKE_QUARTERS

inline void opaque(Vf& a) { asm volatile("" : "+w"(a.q[0]), "+w"(a.q[1]), "+w"(a.q[2]), "+w"(a.q[3])); }
inline void opaque(Vi& a) { asm volatile("" : "+w"(a.q[0]), "+w"(a.q[1]), "+w"(a.q[2]), "+w"(a.q[3])); }

}  // namespace
}  // namespace minke
