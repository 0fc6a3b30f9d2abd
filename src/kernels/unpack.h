#pragma once
// Each integer weight format, sixteen rows at a time, into whatever takes codes and scales: a Panel, or sums
// that are made on the way (stream.isa.cpp). One struct a format; those with codebooks are in unpack_grid.h.
// Byte layouts: quant/blocks.h and MODEL.md 4.1.
//
//   kFormat, kBytes  the format; bytes of a row in one step of 256 columns (32-column formats: of 32 columns)
//   kSub             columns that share a scale inside the 256: 16 or 32
//   kOffset          what codes are above values; 128: codes of all eight bits, kept as the vocabulary likes
//                    them
//   kLargest         the largest code
//   kMin             whether values have a minimum to add
//   kIntegerScales   true: scales are integers under d (minima under dmin); false: they are f32
//
// What takes them, `to`, has kPaired (whether sub-blocks of 16 are to come in pairs) and codes(k, word) for
// columns 4 k .. 4 k + 3, and set_scale(i, word), set_mins(j, word) (sub-blocks 2 j, 2 j + 1 as 16-bit
// pairs), set_d(v), set_dmin(v), or set_fscale(i, v), set_fmin(i, v). `at` is where a block of 16 rows lies
// (rows.h). Indices are compile-time ones, but for i of 32-column formats.
//
//   256 columns      header(at, to) first; it returns what codes<c>(at, header, to) is
//                    given. c < kChunks; a chunk has all codes of its 256 / kSub / kChunks sub-blocks, and
//                    the four words of a sub-block of 16 come one after the other.
//   32 columns       unpack(at, i, to): all of group i, `at` being at the group

#include "kernels/panel.h"
#include "kernels/rows.h"
#include "kernels/unpack_grid.h"

namespace minke {
namespace {

// ---- 32 columns under f16 scales

// The 16 bytes of nibbles at `offset` to codes: low nibbles are columns 0..15, high ones 16..31. `change`
// maps four nibbles.
template <typename At, typename To, typename Change>
MINKE_INLINE void unpack_nibbles(const At& at, int offset, int sub, To& to, Change change) {
  Vi w[4];
  at.words(offset, w);
  unroll<4>([&](auto j) MINKE_INLINED {
    to.codes(8 * sub + j, change(nibbles(w[j]), j));
    to.codes(8 * sub + 4 + j, change(nibbles(shr<4>(w[j])), Index<4 + j>{}));
  });
}

// Bits moved up by n places, down where n is negative.
template <int n>
MINKE_INLINE Vi moved(Vi word) {
  if constexpr (n > 0) return shl<n>(word);
  if constexpr (n < 0) return shr<-n>(word);
  return word;
}

struct UnpackQ4_0 {
  static constexpr Format kFormat = Format::q4_0;
  static constexpr int kBytes = 18, kSub = 32, kOffset = 8, kLargest = 15;
  static constexpr bool kMin = false, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    to.set_fscale(i, at.half(0));
    unpack_nibbles(at, 2, i, to, [](Vi n, auto) { return n; });
  }
};

struct UnpackQ4_1 {
  static constexpr Format kFormat = Format::q4_1;
  static constexpr int kBytes = 20, kSub = 32, kOffset = 0, kLargest = 15;
  static constexpr bool kMin = true, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    const Halves h = at.halves(0);
    to.set_fscale(i, h.first);
    to.set_fmin(i, h.second);
    unpack_nibbles(at, 4, i, to, [](Vi n, auto) { return n; });
  }
};

struct UnpackQ5_0 {
  static constexpr Format kFormat = Format::q5_0;
  static constexpr int kBytes = 22, kSub = 32, kOffset = 16, kLargest = 31;
  static constexpr bool kMin = false, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    const HalfAndWord h = at.half_and_word(0);
    to.set_fscale(i, h.half);
    unpack_nibbles(at, 6, i, to,
                   [&](Vi n, auto k) MINKE_INLINED { return bit_or(n, fifth_bits<k>(h.word)); });
  }
};

struct UnpackQ5_1 {
  static constexpr Format kFormat = Format::q5_1;
  static constexpr int kBytes = 24, kSub = 32, kOffset = 0, kLargest = 31;
  static constexpr bool kMin = true, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    const Halves h = at.halves(0);
    to.set_fscale(i, h.first);
    to.set_fmin(i, h.second);
    const Vi high = at.word(4);
    unpack_nibbles(at, 8, i, to, [&](Vi n, auto k) MINKE_INLINED { return bit_or(n, fifth_bits<k>(high)); });
  }
};

struct UnpackQ8_0 {
  static constexpr Format kFormat = Format::q8_0;
  static constexpr int kBytes = 34, kSub = 32, kOffset = 128, kLargest = 255;
  static constexpr bool kMin = false, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    to.set_fscale(i, at.half(0));
    for (int h = 0; h < 2; ++h) {
      Vi w[4];
      at.words(2 + 16 * h, w);
      unroll<4>([&](auto j)
                    MINKE_INLINED { to.codes(8 * i + 4 * h + j, wide_codes(bit_xor(w[j], bytes_of(128)))); });
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
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    to.set_fscale(i, at.half(0));
    unpack_nibbles(at, 2, i, to, [](Vi n, auto) { return wide_codes(lookup16(n, kIq4Codes)); });
  }
};

// The sixteen doubled e2m1 values, 16 above.
alignas(16) constexpr int8_t kMxfp4Codes[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

struct UnpackMxfp4 {
  static constexpr Format kFormat = Format::mxfp4;
  static constexpr int kBytes = 17, kSub = 32, kOffset = 16, kLargest = 28;
  static constexpr bool kMin = false, kIntegerScales = false;
  template <typename At, typename To>
  static MINKE_INLINE void unpack(const At& at, int i, To& to) {
    alignas(64) uint32_t power[kPanel];
    for (int r = 0; r < kPanel; ++r) {  // 2^(e - 128); the two least exponents are f32 subnormals
      const uint32_t e = static_cast<uint8_t>(at.rows[r][0]);
      power[r] = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    }
    to.set_fscale(i, as_float(load(reinterpret_cast<const int32_t*>(power))));
    unpack_nibbles(at, 1, i, to, [](Vi n, auto) { return lookup16(n, kMxfp4Codes); });
  }
};

// ---- 256 columns under integer scales

template <typename To>
MINKE_INLINE void set_super_scales(Vi d_and_dmin, To& to) {
  to.set_d(half_to_float(bit_and(d_and_dmin, set1(0xffff))));
  to.set_dmin(half_to_float(shr<16>(d_and_dmin)));
}

// Four scales (or minima) in the bytes of `word`, from sub-block `at`.
template <int at, typename To>
MINKE_INLINE void set_scales4(Vi word, To& to) {
  unroll<4>([&](auto i) MINKE_INLINED { to.set_scale(Index<at + i>{}, byte_of<i>(word)); });
}
template <int at, typename To>
MINKE_INLINE void set_mins4(Vi word, To& to) {
  to.set_mins(Index<at / 2>{}, bit_or(bit_and(word, set1(255)), shl<8>(bit_and(word, set1(0xff00)))));
  to.set_mins(Index<at / 2 + 1>{}, bit_or(byte_of<2>(word), shl<16>(byte_of<3>(word))));
}

// The header Q4_K and Q5_K share: d, dmin and eight 6-bit pairs in 12 bytes.
template <typename At, typename To>
MINKE_INLINE void unpack_k_header(const At& at, To& to) {
  Vi h[4];
  at.words(0, h);
  set_super_scales(h[0], to);
  set_scales4<0>(bit_and(h[1], bytes_of(63)), to);
  set_mins4<0>(bit_and(h[2], bytes_of(63)), to);
  set_scales4<4>(bit_or(nibbles(h[3]), bit_and(shr<2>(h[1]), bytes_of(0x30))), to);
  set_mins4<4>(bit_or(nibbles(shr<4>(h[3])), bit_and(shr<2>(h[2]), bytes_of(0x30))), to);
}

struct UnpackQ4K {
  static constexpr Format kFormat = Format::q4_k;
  static constexpr int kBytes = 144, kSub = 32, kOffset = 0, kLargest = 15, kChunks = 4;
  static constexpr bool kMin = true, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    unpack_k_header(at, to);
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    unroll<2>([&](auto half) MINKE_INLINED {  // 16 bytes: half of two neighbouring sub-blocks
      Vi w[4];
      at.words(16 + 32 * c + 16 * half, w);
      unroll<4>([&](auto j) MINKE_INLINED {
        constexpr int k = 16 * c + 4 * half + j;
        to.codes(Index<k>{}, nibbles(w[j]));
        to.codes(Index<k + 8>{}, nibbles(shr<4>(w[j])));
      });
    });
  }
};

struct UnpackQ5K {
  static constexpr Format kFormat = Format::q5_k;
  static constexpr int kBytes = 176, kSub = 32, kOffset = 0, kLargest = 31, kChunks = 4;
  static constexpr bool kMin = true, kIntegerScales = true;
  struct Header {
    Vi high[2][4];  // bit i of each byte belongs to sub-block i
  };
  template <typename At, typename To>
  static MINKE_INLINE Header header(const At& at, To& to) {
    unpack_k_header(at, to);
    Header h;
    at.words(16, h.high[0]);
    at.words(32, h.high[1]);
    return h;
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const Header& h, To& to) {
    unroll<2>([&](auto half) MINKE_INLINED {
      Vi w[4];
      at.words(48 + 32 * c + 16 * half, w);
      unroll<4>([&](auto j) MINKE_INLINED {
        constexpr int k = 16 * c + 4 * half + j;
        const Vi low_bit = bit_and(moved<4 - 2 * c>(h.high[half][j]), bytes_of(16));
        const Vi high_bit = bit_and(moved<3 - 2 * c>(h.high[half][j]), bytes_of(16));
        to.codes(Index<k>{}, bit_or(nibbles(w[j]), low_bit));
        to.codes(Index<k + 8>{}, bit_or(nibbles(shr<4>(w[j])), high_bit));
      });
    });
  }
};

struct UnpackQ6K {
  static constexpr Format kFormat = Format::q6_k;
  static constexpr int kBytes = 210, kSub = 16, kOffset = 32, kLargest = 63, kChunks = 2;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    Vi w[4];
    to.set_d(at.last_half(208));
    at.words(192, w);
    unroll<4>([&](auto j) MINKE_INLINED {
      unroll<4>([&](auto i)
                    MINKE_INLINED { to.set_scale(Index<4 * j + i>{}, sar<24>(shl<24 - 8 * i>(w[j]))); });
    });
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    if constexpr (To::kPaired)
      codes_in_pairs<c>(at, to);
    else
      codes_in_place<c>(at, to);
  }
  // Sub-blocks in the order of columns: two of them share a step of the activations (stream.h).
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes_in_pairs(const At& at, To& to) {
    unroll<8>([&](auto n) MINKE_INLINED {
      constexpr int part = n % 2, upper = n / 2 % 2, g = n / 4, k = 32 * c + 16 * upper + 8 * g + 4 * part;
      Vi top[4], low[4];
      at.words(128 + 32 * c + 16 * part, top);
      at.words(64 * c + 32 * g + 16 * part, low);
      unroll<4>([&](auto j) MINKE_INLINED {
        const Vi high = bit_and(moved<4 - 4 * upper - 2 * g>(top[j]), bytes_of(0x30));
        to.codes(Index<k + j>{}, bit_or(nibbles(moved<-4 * upper>(low[j])), high));
      });
    });
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes_in_place(const At& at, To& to) {
    unroll<2>([&](auto part) MINKE_INLINED {  // columns 16 part .. 16 part + 15 of each group of 32
      Vi top[4];
      at.words(128 + 32 * c + 16 * part, top);
      unroll<2>([&](auto g) MINKE_INLINED {  // groups g and g + 2 share these 16 bytes
        Vi low[4];
        at.words(64 * c + 32 * g + 16 * part, low);
        constexpr int k = 32 * c + 8 * g + 4 * part;
        unroll<4>([&](auto j) MINKE_INLINED {
          const Vi high = bit_and(moved<4 - 2 * g>(top[j]), bytes_of(0x30));
          to.codes(Index<k + j>{}, bit_or(nibbles(low[j]), high));
        });
        unroll<4>([&](auto j) MINKE_INLINED {
          const Vi high = bit_and(moved<-2 * g>(top[j]), bytes_of(0x30));
          to.codes(Index<k + 16 + j>{}, bit_or(nibbles(shr<4>(low[j])), high));
        });
      });
    });
  }
};

struct UnpackQ3K {
  static constexpr Format kFormat = Format::q3_k;
  static constexpr int kBytes = 110, kSub = 16, kOffset = 4, kLargest = 7, kChunks = 2;
  static constexpr bool kMin = false, kIntegerScales = true;
  struct Header {
    Vi mask[2][4];  // bit i of each byte belongs to columns 32 i .. 32 i + 31
  };
  template <typename At, typename To>
  static MINKE_INLINE Header header(const At& at, To& to) {
    Vi w[4];
    at.words(94, w);  // the last 16 bytes: two of qs, 12 of scales, d
    to.set_d(half_to_float(shr<16>(w[3])));
    const Vi low[2] = {bit_or(shr<16>(w[0]), shl<16>(w[1])), bit_or(shr<16>(w[1]), shl<16>(w[2]))};
    const Vi high = bit_or(shr<16>(w[2]), shl<16>(w[3]));
    unroll<4>([&](auto j) MINKE_INLINED {  // scales 4j .. 4j + 3
      const Vi bits = shl<4>(bit_and(shr<2 * j>(high), bytes_of(3)));
      const Vi word = bit_or(nibbles(shr<j / 2 * 4>(low[j % 2])), bits);
      unroll<4>([&](auto i)
                    MINKE_INLINED { to.set_scale(Index<4 * j + i>{}, sub(byte_of<i>(word), set1(32))); });
    });
    Header h;
    at.words(0, h.mask[0]);
    at.words(16, h.mask[1]);
    return h;
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const Header& h, To& to) {
    unroll<2>([&](auto part) MINKE_INLINED {
      Vi q[4];
      at.words(32 + 32 * c + 16 * part, q);
      unroll<4>([&](auto g) MINKE_INLINED {
        unroll<4>([&](auto j) MINKE_INLINED {
          const Vi two = bit_and(shr<2 * g>(q[j]), bytes_of(3));
          const Vi third = bit_and(moved<2 - 4 * c - g>(h.mask[part][j]), bytes_of(4));
          to.codes(Index<32 * c + 8 * g + 4 * part + j>{}, bit_or(two, third));
        });
      });
    });
  }
};

struct UnpackQ2K {
  static constexpr Format kFormat = Format::q2_k;
  static constexpr int kBytes = 84, kSub = 16, kOffset = 0, kLargest = 3, kChunks = 2;
  static constexpr bool kMin = true, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    Vi w[4];
    at.words(68, w);  // the last 16 bytes, d and dmin at the end
    set_super_scales(w[3], to);
    at.words(0, w);
    unroll<4>([&](auto j) MINKE_INLINED {
      set_scales4<4 * j>(nibbles(w[j]), to);
      set_mins4<4 * j>(nibbles(shr<4>(w[j])), to);
    });
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    unroll<2>([&](auto part) MINKE_INLINED {
      Vi q[4];
      at.words(16 + 32 * c + 16 * part, q);
      unroll<4>([&](auto g) MINKE_INLINED {
        unroll<4>([&](auto j) MINKE_INLINED {
          to.codes(Index<32 * c + 8 * g + 4 * part + j>{}, bit_and(shr<2 * g>(q[j]), bytes_of(3)));
        });
      });
    });
  }
};

struct UnpackIq4Xs {
  static constexpr Format kFormat = Format::iq4_xs;
  static constexpr int kBytes = 136, kSub = 32, kOffset = 128, kLargest = 255, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    Vi w[4];
    at.words(0, w);  // d, scales_h, scales_l[4], the first of qs
    to.set_d(half_to_float(bit_and(w[0], set1(0xffff))));
    unroll<8>([&](auto i) MINKE_INLINED {
      const Vi low = bit_and(shr<4 * i>(w[1]), set1(15)), high = bit_and(shr<16 + 2 * i>(w[0]), set1(3));
      to.set_scale(i, sub(bit_or(low, shl<4>(high)), set1(32)));
    });
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    unpack_nibbles(at, 8 + 16 * c, Index<c>{}, to,
                   [](Vi n, auto) { return wide_codes(lookup16(n, kIq4Codes)); });
  }
};

// use(UnpackX{}) for an integer format whose codes stand in its blocks; false for the others.
template <typename Use>
bool with_plain_unpacker(Format format, const Use& use) {
  switch (format) {
    case Format::q4_0: use(UnpackQ4_0{}); return true;
    case Format::q4_1: use(UnpackQ4_1{}); return true;
    case Format::q5_0: use(UnpackQ5_0{}); return true;
    case Format::q5_1: use(UnpackQ5_1{}); return true;
    case Format::q8_0: use(UnpackQ8_0{}); return true;
    case Format::iq4_nl: use(UnpackIq4Nl{}); return true;
    case Format::mxfp4: use(UnpackMxfp4{}); return true;
    case Format::q2_k: use(UnpackQ2K{}); return true;
    case Format::q3_k: use(UnpackQ3K{}); return true;
    case Format::q4_k: use(UnpackQ4K{}); return true;
    case Format::q5_k: use(UnpackQ5K{}); return true;
    case Format::q6_k: use(UnpackQ6K{}); return true;
    case Format::iq4_xs: use(UnpackIq4Xs{}); return true;
    default: return false;
  }
}

// use(UnpackX{}) for any integer format; false for the others.
template <typename Use>
bool with_unpacker(Format format, const Use& use) {
  switch (format) {
    case Format::iq3_s: use(UnpackIq3S{}); return true;
    case Format::iq3_xxs: use(UnpackIq3Xxs{}); return true;
    case Format::iq2_s: use(UnpackIq2S{}); return true;
    case Format::iq2_xs: use(UnpackIq2Xs{}); return true;
    case Format::iq2_xxs: use(UnpackIq2Xxs{}); return true;
    case Format::iq1_m: use(UnpackIq1M{}); return true;
    case Format::iq1_s: use(UnpackIq1S{}); return true;
    default: return with_plain_unpacker(format, use);
  }
}

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
  static MINKE_INLINE void pairs16bytes(const Vi w[4], Vi out[4]) {
    unroll<4>([&](auto j) MINKE_INLINED { out[j] = w[j]; });
  }
};
struct UnpackF8 {
  static constexpr Format kFormat = Format::f8_e4m3;
  static constexpr int kBytes = 1, kBits = static_cast<int>(0x87f00000u);
  static MINKE_INLINE void columns16bytes(const Vi w[4], Vi out[16]) {
    unroll<4>([&](auto j) MINKE_INLINED {
      unroll<4>([&](auto i) MINKE_INLINED {
        const Vi top = shl<24 - 8 * i>(w[j]), moved = bit_and(sar<4>(top), set1(kBits));
        out[4 * j + i] = as_int(value(moved));
      });
    });
  }
  static MINKE_INLINE void pairs16bytes(const Vi w[4], Vi out[8]) {
    unroll<4>([&](auto j) MINKE_INLINED { bf16_of_f8(w[j], out + 2 * j); });
  }

 private:
  // Of exponent and mantissa in f32's place, 120 powers of two too low: 2^120 brings subnormals right as
  // well.
#if !defined(__aarch64__)
  static MINKE_INLINE Vf value(Vi moved) { return mul(as_float(moved), set1(0x1p120f)); }
#else  // which has no way to take subnormal results for zeros, but not operands; f16's are left alone
  static MINKE_INLINE Vf value(Vi moved) {
    const Vi half = bit_or(bit_and(shr<16>(moved), set1(0x8000)), bit_and(shr<13>(moved), set1(0x3f80)));
    return mul(half_to_float(half), set1(0x1p8f));
  }
#endif
};

}  // namespace
}  // namespace minke
