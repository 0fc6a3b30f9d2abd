#pragma once
// The vocabulary in plain C++: the reference, and what runs where nothing better is known. simd.h says what
// each word means.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace minke {
namespace {

constexpr int kTokenTile = 2;  // few, for the sake of those who build it

struct Vf {
  float v[16];
};
struct Vi {
  int32_t v[16];
};

#define MINKE_LANES for (int i = 0; i < 16; ++i)

inline Vf zero_f() { return {}; }
inline Vi zero_i() { return {}; }
inline Vf set1(float x) {
  Vf r;
  MINKE_LANES r.v[i] = x;
  return r;
}
inline Vi set1(int32_t x) {
  Vi r;
  MINKE_LANES r.v[i] = x;
  return r;
}
inline Vf load(const float* p) {
  Vf r;
  std::memcpy(r.v, p, 64);
  return r;
}
inline Vi load(const int32_t* p) {
  Vi r;
  std::memcpy(r.v, p, 64);
  return r;
}
inline Vf load_first(const float* p, int n) {
  Vf r;
  MINKE_LANES r.v[i] = i < n ? p[i] : 0.0f;
  return r;
}
inline void store(float* p, Vf a) { std::memcpy(p, a.v, 64); }
inline void store(int32_t* p, Vi a) { std::memcpy(p, a.v, 64); }
inline void store_first(float* p, Vf a, int n) { MINKE_LANES if (i < n) p[i] = a.v[i]; }

inline Vf add(Vf a, Vf b) {
  MINKE_LANES a.v[i] += b.v[i];
  return a;
}
inline Vf sub(Vf a, Vf b) {
  MINKE_LANES a.v[i] -= b.v[i];
  return a;
}
inline Vf mul(Vf a, Vf b) {
  MINKE_LANES a.v[i] *= b.v[i];
  return a;
}
inline Vf div(Vf a, Vf b) {
  MINKE_LANES a.v[i] /= b.v[i];
  return a;
}
inline Vf fma(Vf a, Vf b, Vf c) {
  MINKE_LANES c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
inline Vf max(Vf a, Vf b) {
  MINKE_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline Vf min(Vf a, Vf b) {
  MINKE_LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline Vf abs(Vf a) {
  MINKE_LANES a.v[i] = __builtin_fabsf(a.v[i]);
  return a;
}

inline int32_t wrap(uint32_t x) { return static_cast<int32_t>(x); }
inline uint32_t bits(int32_t x) { return static_cast<uint32_t>(x); }
inline Vi add(Vi a, Vi b) {
  MINKE_LANES a.v[i] = wrap(bits(a.v[i]) + bits(b.v[i]));
  return a;
}
inline Vi sub(Vi a, Vi b) {
  MINKE_LANES a.v[i] = wrap(bits(a.v[i]) - bits(b.v[i]));
  return a;
}
inline Vi mul(Vi a, Vi b) {
  MINKE_LANES a.v[i] = wrap(bits(a.v[i]) * bits(b.v[i]));
  return a;
}
inline Vi bit_and(Vi a, Vi b) {
  MINKE_LANES a.v[i] &= b.v[i];
  return a;
}
inline Vi bit_or(Vi a, Vi b) {
  MINKE_LANES a.v[i] |= b.v[i];
  return a;
}
inline Vi bit_xor(Vi a, Vi b) {
  MINKE_LANES a.v[i] ^= b.v[i];
  return a;
}
template <int n>
inline Vi shl(Vi a) {
  MINKE_LANES a.v[i] = wrap(bits(a.v[i]) << n);
  return a;
}
template <int n>
inline Vi shr(Vi a) {
  MINKE_LANES a.v[i] = wrap(bits(a.v[i]) >> n);
  return a;
}
template <int n>
inline Vi sar(Vi a) {
  MINKE_LANES a.v[i] >>= n;
  return a;
}

inline Vf to_float(Vi a) {
  Vf r;
  MINKE_LANES r.v[i] = static_cast<float>(a.v[i]);
  return r;
}
inline Vi to_int(Vf a) {
  Vi r;
  MINKE_LANES r.v[i] = static_cast<int32_t>(__builtin_rintf(a.v[i]));
  return r;
}
inline Vi as_int(Vf a) {
  Vi r;
  std::memcpy(r.v, a.v, 64);
  return r;
}
inline Vf as_float(Vi a) {
  Vf r;
  std::memcpy(r.v, a.v, 64);
  return r;
}

inline Vi broadcast4(const void* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return set1(x);
}

inline Vi dot8(Vi acc, Vi u, Vi s) {
  MINKE_LANES for (int j = 0; j < 4; ++j) {
    const int32_t code = static_cast<uint8_t>(bits(u.v[i]) >> 8 * j),
                  x = static_cast<int8_t>(bits(s.v[i]) >> 8 * j);
    acc.v[i] = wrap(bits(acc.v[i]) + bits(code * x));
  }
  return acc;
}
inline Vi dot7(Vi acc, Vi u, Vi s) { return dot8(acc, u, s); }
inline Vi dot16(Vi acc, Vi a, Vi b) {
  MINKE_LANES for (int j = 0; j < 2; ++j) {
    const int32_t x = static_cast<int16_t>(bits(a.v[i]) >> 16 * j),
                  y = static_cast<int16_t>(bits(b.v[i]) >> 16 * j);
    acc.v[i] = wrap(bits(acc.v[i]) + bits(x * y));
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
  MINKE_LANES {
    uint32_t r = 0;
    for (int j = 0; j < 4; ++j)
      r |= uint32_t{static_cast<uint8_t>(table[bits(nibbles.v[i]) >> 8 * j & 15])} << 8 * j;
    nibbles.v[i] = wrap(r);
  }
  return nibbles;
}

inline float half(uint32_t h) {  // exact
  const uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  float f = static_cast<float>(mantissa) * 0x1p-24f;
  uint32_t b;
  std::memcpy(&b, &f, 4);
  if (exponent != 0) b = (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
  b |= sign;
  std::memcpy(&f, &b, 4);
  return f;
}
inline Vi load_u16(const void* p) {
  uint16_t h[16];
  std::memcpy(h, p, 32);
  Vi r;
  MINKE_LANES r.v[i] = h[i];
  return r;
}
inline Vf half_to_float(Vi a) {
  Vf r;
  MINKE_LANES r.v[i] = half(bits(a.v[i]) & 0xffff);
  return r;
}
inline Vf load_f16(const void* p) { return half_to_float(load_u16(p)); }
inline Vf load_bf16(const void* p) { return as_float(shl<16>(load_u16(p))); }
inline Vi load_i8(const void* p) {
  Vi r;
  MINKE_LANES r.v[i] = static_cast<const int8_t*>(p)[i];
  return r;
}
inline Vi load_u8(const void* p) {
  Vi r;
  MINKE_LANES r.v[i] = static_cast<const uint8_t*>(p)[i];
  return r;
}
inline void store_i8(int8_t* p, Vi a) { MINKE_LANES p[i] = static_cast<int8_t>(a.v[i]); }
inline void store_u16(uint16_t* p, Vi a) { MINKE_LANES p[i] = static_cast<uint16_t>(a.v[i]); }

template <typename Rows>
inline void transpose4(const Rows& rows, int offset, Vi out[4]) {
  MINKE_LANES for (int j = 0; j < 4; ++j) std::memcpy(&out[j].v[i], rows[i] + offset + 4 * j, 4);
}

inline float sum(Vf a) {
  for (int n = 8; n >= 1; n /= 2)
    for (int i = 0; i < n; ++i) a.v[i] += a.v[i + n];
  return a.v[0];
}
inline float largest(Vf a) {
  for (int i = 1; i < 16; ++i) a.v[0] = a.v[i] > a.v[0] ? a.v[i] : a.v[0];
  return a.v[0];
}
inline int32_t sum(Vi a) {
  uint32_t total = 0;
  MINKE_LANES total += bits(a.v[i]);
  return wrap(total);
}

#undef MINKE_LANES

inline void opaque(Vf& a) { asm volatile("" : "+m"(a)); }
inline void opaque(Vi& a) { asm volatile("" : "+m"(a)); }

}  // namespace
}  // namespace minke
