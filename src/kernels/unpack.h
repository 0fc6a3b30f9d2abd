#pragma once
// Each integer weight format into a Panel: one struct a format. Byte layouts: quant/blocks.h and
// MODEL.md 4.1.
//
//   kFormat, kBytes  the format; bytes of a row in one step of 256 columns (32-column formats: of 32 columns)
//   kSub             columns that share a scale inside the 256: 16 or 32
//   kOffset          what codes are above values; 128: codes of all eight bits, kept as the vocabulary likes
//   them kLargest         the largest code kMin             whether values have a minimum to add
//   kIntegerScales   true: scale, d (and min, dmin) are set; false: fscale (and fmin)
//   unpack           16 rows from `base`, `stride` bytes apart; 32-column formats take the number of 32s

#include "kernels/panel.h"

namespace minke {
namespace {

// ---- 32 columns under f16 scales

// The 16 bytes of nibbles at `base` to codes: low nibbles are columns 0..15, high ones 16..31. `change` maps
// four nibbles.
template <typename Change>
MINKE_INLINE void unpack_nibbles(const std::byte* base, int64_t stride, Panel& p, int sub, Change change) {
  Vi w[4];
  transpose4(base, stride, w);
  unroll<4>([&](auto j) MINKE_INLINED {
    set_codes(p, 8 * sub + j, change(nibbles(w[j]), j));
    set_codes(p, 8 * sub + 4 + j, change(nibbles(shr<4>(w[j])), Index<4 + j>{}));
  });
}

MINKE_INLINE void set_half_scale(const std::byte* base, int64_t stride, float* scales) {
  store(scales, half_to_float(column_u16(base, stride)));
}

struct UnpackQ4_0 {
  static constexpr Format kFormat = Format::q4_0;
  static constexpr int kBytes = 18, kSub = 32, kOffset = 8, kLargest = 15;
  static constexpr bool kMin = false, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      unpack_nibbles(base + 2, stride, p, i, [](Vi n, auto) { return n; });
    }
  }
};

struct UnpackQ4_1 {
  static constexpr Format kFormat = Format::q4_1;
  static constexpr int kBytes = 20, kSub = 32, kOffset = 0, kLargest = 15;
  static constexpr bool kMin = true, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      set_half_scale(base + 2, stride, p.fmin[i]);
      unpack_nibbles(base + 4, stride, p, i, [](Vi n, auto) { return n; });
    }
  }
};

// Bits 4k .. 4k + 3 of `high` as 0 or 16 in the four bytes of word k.
template <int k>
MINKE_INLINE Vi fifth_bits(Vi high) {
  Vi x = bit_and(shr<4 * k>(high), set1(15));
  x = bit_or(x, shl<7>(x));
  x = bit_or(x, shl<14>(x));
  return shl<4>(bit_and(x, bytes_of(1)));
}

MINKE_INLINE Vi column_u32(const std::byte* base, int64_t stride) {
  alignas(64) int32_t column[kPanel];
  for (int r = 0; r < kPanel; ++r) std::memcpy(&column[r], base + r * stride, 4);
  return load(column);
}

struct UnpackQ5_0 {
  static constexpr Format kFormat = Format::q5_0;
  static constexpr int kBytes = 22, kSub = 32, kOffset = 16, kLargest = 31;
  static constexpr bool kMin = false, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      const Vi high = column_u32(base + 2, stride);
      unpack_nibbles(base + 6, stride, p, i,
                     [&](Vi n, auto k) MINKE_INLINED { return bit_or(n, fifth_bits<k>(high)); });
    }
  }
};

struct UnpackQ5_1 {
  static constexpr Format kFormat = Format::q5_1;
  static constexpr int kBytes = 24, kSub = 32, kOffset = 0, kLargest = 31;
  static constexpr bool kMin = true, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      set_half_scale(base + 2, stride, p.fmin[i]);
      const Vi high = column_u32(base + 4, stride);
      unpack_nibbles(base + 8, stride, p, i,
                     [&](Vi n, auto k) MINKE_INLINED { return bit_or(n, fifth_bits<k>(high)); });
    }
  }
};

struct UnpackQ8_0 {
  static constexpr Format kFormat = Format::q8_0;
  static constexpr int kBytes = 34, kSub = 32, kOffset = 128, kLargest = 255;
  static constexpr bool kMin = false, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      for (int h = 0; h < 2; ++h) {
        Vi w[4];
        transpose4(base + 2 + 16 * h, stride, w);
        unroll<4>([&](auto j) MINKE_INLINED {
          set_codes(p, 8 * i + 4 * h + j, wide_codes(bit_xor(w[j], bytes_of(128))));
        });
      }
    }
  }
};

constexpr int8_t code128(int value) { return static_cast<int8_t>(static_cast<uint8_t>(value + 128)); }

// The sixteen values of IQ4_NL and IQ4_XS, 128 above.
alignas(16) constexpr int8_t kIq4Codes[16] = {code128(-127), code128(-104), code128(-83), code128(-65),
                                              code128(-49),  code128(-35),  code128(-22), code128(-10),
                                              code128(1),    code128(13),   code128(25),  code128(38),
                                              code128(53),   code128(69),   code128(89),  code128(113)};

struct UnpackIq4Nl {
  static constexpr Format kFormat = Format::iq4_nl;
  static constexpr int kBytes = 18, kSub = 32, kOffset = 128, kLargest = 255;
  static constexpr bool kMin = false, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      set_half_scale(base, stride, p.fscale[i]);
      unpack_nibbles(base + 2, stride, p, i, [](Vi n, auto) { return wide_codes(lookup16(n, kIq4Codes)); });
    }
  }
};

// The sixteen doubled e2m1 values, 16 above.
alignas(16) constexpr int8_t kMxfp4Codes[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

struct UnpackMxfp4 {
  static constexpr Format kFormat = Format::mxfp4;
  static constexpr int kBytes = 17, kSub = 32, kOffset = 16, kLargest = 28;
  static constexpr bool kMin = false, kIntegerScales = false;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, int subs, Panel& p) {
    for (int i = 0; i < subs; ++i, base += kBytes) {
      for (int r = 0; r < kPanel; ++r) {  // 2^(e - 128); the two least exponents are f32 subnormals
        const uint32_t e = static_cast<uint8_t>(base[r * stride]);
        const uint32_t power = e < 2 ? 0x00200000u << e : (e - 1) << 23;
        std::memcpy(&p.fscale[i][r], &power, 4);
      }
      unpack_nibbles(base + 1, stride, p, i, [](Vi n, auto) { return lookup16(n, kMxfp4Codes); });
    }
  }
};

// ---- 256 columns under integer scales

MINKE_INLINE void set_super_scales(Vi d_and_dmin, Panel& p) {
  store(p.d, half_to_float(bit_and(d_and_dmin, set1(0xffff))));
  store(p.dmin, half_to_float(shr<16>(d_and_dmin)));
}

// Four scales (or minima) in the bytes of `word`, from sub-block `at`.
MINKE_INLINE void set_scales4(Vi word, int at, Panel& p) {
  unroll<4>([&](auto i) MINKE_INLINED { store(p.scale[at + i], byte_of<i>(word)); });
}
MINKE_INLINE void set_mins4(Vi word, int at, Panel& p) {
  const Vi low = bit_or(bit_and(word, set1(255)), shl<8>(bit_and(word, set1(0xff00))));
  const Vi high = bit_or(byte_of<2>(word), shl<16>(byte_of<3>(word)));
  store(reinterpret_cast<int32_t*>(p.min[at / 2]), low);
  store(reinterpret_cast<int32_t*>(p.min[at / 2 + 1]), high);
}

// The header Q4_K and Q5_K share: d, dmin and eight 6-bit pairs in 12 bytes.
MINKE_INLINE void unpack_k_header(const std::byte* base, int64_t stride, Panel& p) {
  Vi h[4];
  transpose4(base, stride, h);
  set_super_scales(h[0], p);
  set_scales4(bit_and(h[1], bytes_of(63)), 0, p);
  set_mins4(bit_and(h[2], bytes_of(63)), 0, p);
  set_scales4(bit_or(nibbles(h[3]), bit_and(shr<2>(h[1]), bytes_of(0x30))), 4, p);
  set_mins4(bit_or(nibbles(shr<4>(h[3])), bit_and(shr<2>(h[2]), bytes_of(0x30))), 4, p);
}

struct UnpackQ4K {
  static constexpr Format kFormat = Format::q4_k;
  static constexpr int kBytes = 144, kSub = 32, kOffset = 0, kLargest = 15;
  static constexpr bool kMin = true, kIntegerScales = true;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    unpack_k_header(base, stride, p);
    for (int c = 0; c < 8; ++c) {  // 16 bytes: half of two neighbouring sub-blocks
      Vi w[4];
      transpose4(base + 16 + 16 * c, stride, w);
      const int k = c / 2 * 16 + c % 2 * 4;
      unroll<4>([&](auto j) MINKE_INLINED {
        set_codes(p, k + j, nibbles(w[j]));
        set_codes(p, k + 8 + j, nibbles(shr<4>(w[j])));
      });
    }
  }
};

struct UnpackQ5K {
  static constexpr Format kFormat = Format::q5_k;
  static constexpr int kBytes = 176, kSub = 32, kOffset = 0, kLargest = 31;
  static constexpr bool kMin = true, kIntegerScales = true;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    unpack_k_header(base, stride, p);
    unroll<2>([&](auto half) MINKE_INLINED {
      Vi high[4];  // bit i of each byte belongs to sub-block i
      transpose4(base + 16 + 16 * half, stride, high);
      unroll<4>([&](auto pair) MINKE_INLINED {
        Vi w[4];
        transpose4(base + 48 + 32 * pair + 16 * half, stride, w);
        unroll<4>([&](auto j) MINKE_INLINED {
          const Vi low_bit = bit_and(shr<2 * pair>(high[j]), bytes_of(1));
          const Vi high_bit = bit_and(shr<2 * pair + 1>(high[j]), bytes_of(1));
          const int k = 16 * pair + 4 * half + j;
          set_codes(p, k, bit_or(nibbles(w[j]), shl<4>(low_bit)));
          set_codes(p, k + 8, bit_or(nibbles(shr<4>(w[j])), shl<4>(high_bit)));
        });
      });
    });
  }
};

struct UnpackQ6K {
  static constexpr Format kFormat = Format::q6_k;
  static constexpr int kBytes = 210, kSub = 16, kOffset = 32, kLargest = 63;
  static constexpr bool kMin = false, kIntegerScales = true;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    Vi w[4];
    transpose4(base + 194, stride, w);  // the last 16 bytes, d at the end
    store(p.d, half_to_float(shr<16>(w[3])));
    transpose4(base + 192, stride, w);
    unroll<4>([&](auto j) MINKE_INLINED {
      unroll<4>([&](auto i) MINKE_INLINED { store(p.scale[4 * j + i], sar<24>(shl<24 - 8 * i>(w[j]))); });
    });
    unroll<2>([&](auto h) MINKE_INLINED {
      unroll<2>([&](auto part) MINKE_INLINED {  // columns 16 part .. 16 part + 15 of each group of 32
        Vi top[4];
        transpose4(base + 128 + 32 * h + 16 * part, stride, top);
        unroll<2>([&](auto g) MINKE_INLINED {  // groups g and g + 2 share these 16 bytes
          Vi low[4];
          transpose4(base + 64 * h + 32 * g + 16 * part, stride, low);
          unroll<4>([&](auto j) MINKE_INLINED {
            const int k = 32 * h + 8 * g + 4 * part + j;
            const Vi even = shl<4>(bit_and(shr<2 * g>(top[j]), bytes_of(3)));
            const Vi odd = shl<4>(bit_and(shr<2 * g + 4>(top[j]), bytes_of(3)));
            set_codes(p, k, bit_or(nibbles(low[j]), even));
            set_codes(p, k + 16, bit_or(nibbles(shr<4>(low[j])), odd));
          });
        });
      });
    });
  }
};

struct UnpackQ3K {
  static constexpr Format kFormat = Format::q3_k;
  static constexpr int kBytes = 110, kSub = 16, kOffset = 4, kLargest = 7;
  static constexpr bool kMin = false, kIntegerScales = true;

  static MINKE_INLINE void unpack_scales(const std::byte* base, int64_t stride, Panel& p) {
    Vi w[4];
    transpose4(base + 94, stride, w);  // the last 16 bytes: two of qs, 12 of scales, d
    store(p.d, half_to_float(shr<16>(w[3])));
    const Vi low[2] = {bit_or(shr<16>(w[0]), shl<16>(w[1])), bit_or(shr<16>(w[1]), shl<16>(w[2]))};
    const Vi high = bit_or(shr<16>(w[2]), shl<16>(w[3]));
    unroll<4>([&](auto j) MINKE_INLINED {  // scales 4j .. 4j + 3
      const Vi bits = shl<4>(bit_and(shr<2 * j>(high), bytes_of(3)));
      const Vi word = bit_or(nibbles(shr<j / 2 * 4>(low[j % 2])), bits);
      unroll<4>([&](auto i) MINKE_INLINED { store(p.scale[4 * j + i], sub(byte_of<i>(word), set1(32))); });
    });
  }

  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    unpack_scales(base, stride, p);
    unroll<2>([&](auto part) MINKE_INLINED {
      Vi mask[4];
      transpose4(base + 16 * part, stride, mask);
      unroll<2>([&](auto h) MINKE_INLINED {
        Vi q[4];
        transpose4(base + 32 + 32 * h + 16 * part, stride, q);
        unroll<4>([&](auto g) MINKE_INLINED {
          unroll<4>([&](auto j) MINKE_INLINED {
            const Vi two = bit_and(shr<2 * g>(q[j]), bytes_of(3));
            const Vi third = shl<2>(bit_and(shr<4 * h + g>(mask[j]), bytes_of(1)));
            set_codes(p, 32 * h + 8 * g + 4 * part + j, bit_or(two, third));
          });
        });
      });
    });
  }
};

struct UnpackQ2K {
  static constexpr Format kFormat = Format::q2_k;
  static constexpr int kBytes = 84, kSub = 16, kOffset = 0, kLargest = 3;
  static constexpr bool kMin = true, kIntegerScales = true;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    Vi w[4];
    transpose4(base + 68, stride, w);  // the last 16 bytes, d and dmin at the end
    set_super_scales(w[3], p);
    transpose4(base, stride, w);
    unroll<4>([&](auto j) MINKE_INLINED {
      set_scales4(nibbles(w[j]), 4 * j, p);
      set_mins4(nibbles(shr<4>(w[j])), 4 * j, p);
    });
    unroll<2>([&](auto h) MINKE_INLINED {
      unroll<2>([&](auto part) MINKE_INLINED {
        Vi q[4];
        transpose4(base + 16 + 32 * h + 16 * part, stride, q);
        unroll<4>([&](auto g) MINKE_INLINED {
          unroll<4>([&](auto j) MINKE_INLINED {
            set_codes(p, 32 * h + 8 * g + 4 * part + j, bit_and(shr<2 * g>(q[j]), bytes_of(3)));
          });
        });
      });
    });
  }
};

struct UnpackIq4Xs {
  static constexpr Format kFormat = Format::iq4_xs;
  static constexpr int kBytes = 136, kSub = 32, kOffset = 128, kLargest = 255;
  static constexpr bool kMin = false, kIntegerScales = true;
  static MINKE_INLINE void unpack(const std::byte* base, int64_t stride, Panel& p) {
    Vi w[4];
    transpose4(base, stride, w);  // d, scales_h, scales_l[4], the first of qs
    store(p.d, half_to_float(bit_and(w[0], set1(0xffff))));
    unroll<8>([&](auto i) MINKE_INLINED {
      const Vi low = bit_and(shr<4 * i>(w[1]), set1(15)), high = bit_and(shr<16 + 2 * i>(w[0]), set1(3));
      store(p.scale[i], sub(bit_or(low, shl<4>(high)), set1(32)));
    });
    for (int i = 0; i < 8; ++i)
      unpack_nibbles(base + 8 + 16 * i, stride, p, i,
                     [](Vi n, auto) { return wide_codes(lookup16(n, kIq4Codes)); });
  }
};

// ---- floats: 256 columns (or what is left of them) straight to f32, x[column][row]

struct UnpackF32 {
  static constexpr Format kFormat = Format::f32;
  static constexpr int kBytes = 4;
  static MINKE_INLINE void columns16bytes(const Vi w[4], Vi out[4]) {
    unroll<4>([&](auto j) MINKE_INLINED { out[j] = w[j]; });
  }
};
struct UnpackF16 {
  static constexpr Format kFormat = Format::f16;
  static constexpr int kBytes = 2;
  static MINKE_INLINE void columns16bytes(const Vi w[4], Vi out[8]) {
    unroll<4>([&](auto j) MINKE_INLINED {
      out[2 * j] = as_int(half_to_float(bit_and(w[j], set1(0xffff))));
      out[2 * j + 1] = as_int(half_to_float(shr<16>(w[j])));
    });
  }
};
struct UnpackBf16 {
  static constexpr Format kFormat = Format::bf16;
  static constexpr int kBytes = 2;
  static MINKE_INLINE void columns16bytes(const Vi w[4], Vi out[8]) {
    unroll<4>([&](auto j) MINKE_INLINED {
      out[2 * j] = shl<16>(w[j]);
      out[2 * j + 1] = shl<16>(shr<16>(w[j]));
    });
  }
};
struct UnpackF8 {
  static constexpr Format kFormat = Format::f8_e4m3;
  static constexpr int kBytes = 1;
  // Exponent and mantissa moved into f32's place, 120 powers of two too low: 2^120 brings subnormals right as
  // well.
  static MINKE_INLINE void columns16bytes(const Vi w[4], Vi out[16]) {
    unroll<4>([&](auto j) MINKE_INLINED {
      unroll<4>([&](auto i) MINKE_INLINED {
        const Vi byte = byte_of<i>(w[j]);
        const Vi sign = shl<24>(bit_and(byte, set1(128))), rest = shl<20>(bit_and(byte, set1(127)));
        out[4 * j + i] = as_int(mul(as_float(bit_or(sign, rest)), set1(0x1p120f)));
      });
    });
  }
};

}  // namespace
}  // namespace minke
