#pragma once
// The blocks of the quantised weight formats as they lie in a file (MODEL.md 4.1): little-endian, no padding,
// any alignment. d, dmin and m are f16. Which bits make which weight is said at each; q is a weight's code.
//
// All of it has internal linkage or is a plain type, so that kernels of any instruction set may include it.

#include <bit>
#include <cstdint>

namespace minke {

static_assert(std::endian::native == std::endian::little,
              "blocks are read as they lie in little-endian files");

constexpr int kSmallBlock = 32;   // weights of a block of Q4_0 .. Q8_0, IQ4_NL, MXFP4
constexpr int kSuperBlock = 256;  // weights of a block of Q2_K .. Q6_K, IQ1 .. IQ3, IQ4_XS

// IQ4_NL and IQ4_XS look their codes up here.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the e2m1 values of MXFP4.
constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#pragma pack(push, 1)

// Where 32 codes have 4 or 5 bits, weight l has the low nibble of qs[l] and weight l + 16 the high one.

struct BlockQ4_0 {  // x = d (q - 8)
  uint16_t d;
  uint8_t qs[16];
};

struct BlockQ4_1 {  // x = d q + m
  uint16_t d, m;
  uint8_t qs[16];
};

struct BlockQ5_0 {  // x = d (q - 16); q of weight e = nibble | (qh >> e & 1) << 4
  uint16_t d;
  uint8_t qh[4];  // a u32
  uint8_t qs[16];
};

struct BlockQ5_1 {  // x = d q + m, q as Q5_0
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};

struct BlockQ8_0 {  // x = d q
  uint16_t d;
  int8_t qs[32];
};

struct BlockIq4Nl {  // x = d kIq4Values[q]
  uint16_t d;
  uint8_t qs[16];
};

struct BlockMxfp4 {  // x = 2^(e - 128) kMxfp4Values[q]
  uint8_t e;
  uint8_t qs[16];
};

// In the blocks of 256, weight e lies in half h = e / 128 at r = e % 128, in sub-block j = e / 16 of 16 and i
// = e / 32 of 32 weights, there at l = e % 32.

struct BlockQ2_K {  // x = d (scales[j] & 15) q - dmin (scales[j] >> 4)
  uint8_t scales[16];
  uint8_t qs[64];  // q = qs[32 h + l] >> 2 (r / 32) & 3
  uint16_t d, dmin;
};

struct BlockQ3_K {    // x = d (s[j] - 32) (q - 4)
  uint8_t hmask[32];  // bit 2 of q = hmask[l] >> (4 h + r / 32) & 1
  uint8_t qs[64];     // low bits of q, as Q2_K
  // s[j] of 6 bits: low four = scales[j % 8] >> 4 (j / 8) & 15, high two = scales[8 + j % 4] >> 2 (j / 4) & 3
  uint8_t scales[12];
  uint16_t d;
};

struct BlockQ4_K {  // x = d s[i] q - dmin m[i]
  uint16_t d, dmin;
  // s and m of 6 bits. i < 4: s = scales[i] & 63, m = scales[i + 4] & 63;
  // i >= 4: s = scales[i + 4] & 15 | scales[i - 4] >> 6 << 4, m = scales[i + 4] >> 4 | scales[i] >> 6 << 4
  uint8_t scales[12];
  uint8_t qs[128];  // q = qs[32 (i / 2) + l] >> 4 (i % 2) & 15
};

struct BlockQ5_K {  // as Q4_K, with bit 4 of q = qh[l] >> i & 1
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

struct BlockQ6_K {  // x = d scales[j] (q - 32), with g = r / 32:
  uint8_t ql[128];  // low four bits of q = ql[64 h + 32 (g % 2) + l] >> 4 (g / 2) & 15
  uint8_t qh[64];   // high two = qh[32 h + l] >> 2 g & 3
  int8_t scales[16];
  uint16_t d;
};

struct BlockIq4Xs {  // x = d (s[i] - 32) kIq4Values[q]
  uint16_t d;
  uint16_t scales_h;    // high two bits of s[i] = scales_h >> 2 i & 3
  uint8_t scales_l[4];  // low four = scales_l[i / 2] >> 4 (i % 2) & 15
  uint8_t qs[128];      // q = qs[16 i + l % 16], low nibble where l < 16
};

// The IQ1, IQ2 and IQ3 formats look several neighbouring weights up at once (iq_tables.h): g = e / 8 is a
// group of eight, f = e / 4 one of four; p, their place in their 32, is g % 4 or f % 8. Scales stand under 1
// / 8, 1 / 4 or nothing, and bit e % 8 of sign[g] makes a weight negative.

struct BlockIq2Xxs {  // x = d / 8 (2 s[i] + 1) grid[g]
  uint16_t d;
  struct {
    uint8_t grid[4];  // [p]
    uint32_t rest;    // s = rest >> 28, seven signs = rest >> 7 p & 127
  } groups[8];        // [i]
};

struct BlockIq2Xs {  // x = d / 8 (2 s[j] + 1) grid[g]
  uint16_t d;
  uint16_t qs[32];    // [g], grid = qs & 511, seven signs = qs >> 9
  uint8_t scales[8];  // s[j] = scales[j / 2] >> 4 (j % 2) & 15
};

struct BlockIq2S {  // x = d / 8 (2 s[j] + 1) grid[g], s as IQ2_XS
  uint16_t d;
  uint8_t qs[32];  // grid = qs[g] | (qh[i] >> 2 p & 3) << 8
  uint8_t signs[32];
  uint8_t qh[8];
  uint8_t scales[8];
};

struct BlockIq3Xxs {  // x = d / 4 (2 s[i] + 1) grid[f]
  uint16_t d;
  uint8_t qs[64];    // [f]
  uint32_t rest[8];  // as IQ2_XXS
};

struct BlockIq3S {  // x = d (2 s[i] + 1) grid[f]
  uint16_t d;
  uint8_t qs[64];  // grid = qs[f] | (qh[i] >> p & 1) << 8
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];  // s[i] = scales[i / 2] >> 4 (i % 2) & 15
};

struct BlockIq1S {  // x = d / 8 (2 s[i] + 1) (8 grid[g] +- 1)
  uint16_t d;
  uint8_t qs[32];  // grid = qs[g] | (qh[i] >> 3 p & 7) << 8
  uint16_t qh[8];  // s[i] = qh[i] >> 12 & 7; the top bit says -
};

struct BlockIq1M {     // x = d / 8 (2 s[j] + 1) (8 grid[g] +- 1)
  uint8_t qs[32];      // grid = qs[g] | (h[g] & 7) << 8
  uint8_t qh[16];      // h[g] = qh[g / 2] >> 4 (g % 2) & 15; its bit 3 says -
  uint16_t scales[4];  // s[j] = scales[j / 4] >> 3 (j % 4) & 7; their top four bits are d, the lowest first
};

#pragma pack(pop)

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockIq4Nl) == 18 && sizeof(BlockIq4Xs) == 136 && sizeof(BlockMxfp4) == 17);
static_assert(sizeof(BlockIq2Xxs) == 66 && sizeof(BlockIq2Xs) == 74 && sizeof(BlockIq2S) == 82);
static_assert(sizeof(BlockIq3Xxs) == 98 && sizeof(BlockIq3S) == 110);
static_assert(sizeof(BlockIq1S) == 50 && sizeof(BlockIq1M) == 56);

// The f16 scale IQ1_M keeps in quarters.
constexpr uint16_t scale_of(const BlockIq1M& block) {
  return static_cast<uint16_t>(block.scales[0] >> 12 | block.scales[1] >> 12 << 4 |
                               block.scales[2] >> 12 << 8 | block.scales[3] >> 12 << 12);
}

}  // namespace minke
