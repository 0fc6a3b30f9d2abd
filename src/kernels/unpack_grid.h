#pragma once
// The weight formats whose codes are looked up several at once, as unpack.h wants them. Only the look-up goes
// row by row; a chunk is 32 columns.

#include <cstring>

#include "kernels/panel.h"
#include "quant/iq_tables.h"

namespace minke {
namespace {

// Entries of a codebook, one for each row.
template <typename Entry>
struct Entries {
  const Entry* grid;
  const int32_t* index;
  MINKE_INLINE const std::byte* operator[](int r) const {
    return reinterpret_cast<const std::byte*>(grid + index[r]);
  }
};

// The entries at index[0] .. index[n - 1] of every row, four columns a word.
template <int n, typename Entry>
MINKE_INLINE void look_up(const Entry* grid, const Vi (&index)[n], Vi (&columns)[8]) {
  constexpr int kWords = sizeof(Entry) / 4;
  static_assert(n * kWords == 8);
  alignas(64) int32_t at[n][kPanel];
  unroll<n>([&](auto g) MINKE_INLINED { store(at[g], index[g]); });
  asm("" : "+m"(at));  // or GCC takes each index out of its register
  unroll<n>([&](auto g) MINKE_INLINED {
    const Entries<Entry> rows{grid, at[g]};
    if constexpr (kWords == 2)
      columns_u64(rows, 0, columns + 2 * g);
    else
      columns[g] = column_u32(rows, 0);
  });
}

// offset + v, or offset - v in the bytes where `negative` has 16 and not 0; 0 < v < offset.
template <int offset>
MINKE_INLINE Vi around(Vi v, Vi negative) {
  static_assert(offset == 64 || offset == 128);
  constexpr int kShift = offset == 64 ? 2 : 3;
  const Vi turned = sub(shl<kShift>(negative), shr<4>(negative));  // offset - 1 or 0
  const Vi code = add(bit_xor(v, turned), sub(bytes_of(offset), turned));
  return offset == 128 ? wide_codes(code) : code;
}

// Seven signs with the eighth, which makes the number of negative ones even.
MINKE_INLINE Vi with_eighth(Vi seven) {
  Vi odd = bit_xor(seven, shr<4>(seven));
  odd = bit_xor(odd, shr<2>(odd));
  odd = bit_xor(odd, shr<1>(odd));
  return bit_or(seven, shl<7>(bit_and(odd, set1(1))));
}

// The 32 columns of chunk c, their signs in the bits of one word.
template <int c, int offset, typename To>
MINKE_INLINE void put_signed(const Vi (&v)[8], Vi signs, To& to) {
  unroll<8>([&](auto k)
                MINKE_INLINED { to.codes(Index<8 * c + k>{}, around<offset>(v[k], fifth_bits<k>(signs))); });
}

// The same where eight columns have seven signs: seven(p) has those of columns 8 p .. 8 p + 7 lowest.
template <int c, int offset, typename To, typename Seven>
MINKE_INLINE void put_signed_by_seven(const Vi (&v)[8], To& to, const Seven& seven) {
  unroll<4>([&](auto p) MINKE_INLINED {
    const Vi signs = with_eighth(bit_and(seven(p), set1(127)));
    to.codes(Index<8 * c + 2 * p>{}, around<offset>(v[2 * p], fifth_bits<0>(signs)));
    to.codes(Index<8 * c + 2 * p + 1>{}, around<offset>(v[2 * p + 1], fifth_bits<1>(signs)));
  });
}

MINKE_INLINE Vi bits_of(Vi word, int mask) { return bit_and(word, set1(mask)); }
MINKE_INLINE Vi odd_scale(Vi s) { return add(shl<1>(s), set1(1)); }

// Eight scales in the nibbles of `word`, from sub-block `at`.
template <int at, typename To>
MINKE_INLINE void set_odd_scales8(Vi word, To& to) {
  unroll<8>([&](auto i)
                MINKE_INLINED { to.set_scale(Index<at + i>{}, odd_scale(bits_of(shr<4 * i>(word), 15))); });
}

// The f16 at the start of each row, times a power of two.
template <typename At, typename To>
MINKE_INLINE void set_scaled_d(const At& at, float power, To& to) {
  to.set_d(mul(at.half(0), set1(power)));
}

struct UnpackIq2Xxs {
  static constexpr Format kFormat = Format::iq2_xxs;
  static constexpr int kBytes = 66, kSub = 32, kOffset = 128, kLargest = 255, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    set_scaled_d(at, 0.125f, to);
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    const Vi q = at.word(2 + 8 * c), rest = at.word(6 + 8 * c);
    to.set_scale(Index<c>{}, odd_scale(shr<28>(rest)));
    const Vi index[4] = {byte_of<0>(q), byte_of<1>(q), byte_of<2>(q), byte_of<3>(q)};
    Vi v[8];
    look_up(kIq2XxsGrid.data(), index, v);
    put_signed_by_seven<c, 128>(v, to, [&](auto p) MINKE_INLINED { return shr<7 * p>(rest); });
  }
};

struct UnpackIq2Xs {
  static constexpr Format kFormat = Format::iq2_xs;
  static constexpr int kBytes = 74, kSub = 16, kOffset = 64, kLargest = 107, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    set_scaled_d(at, 0.125f, to);
    set_odd_scales8<0>(at.word(66), to);
    set_odd_scales8<8>(at.word(70), to);
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    const Vi q[2] = {at.word(2 + 8 * c), at.word(6 + 8 * c)};
    const Vi index[4] = {bits_of(q[0], 511), bits_of(shr<16>(q[0]), 511), bits_of(q[1], 511),
                         bits_of(shr<16>(q[1]), 511)};
    Vi v[8];
    look_up(kIq2XsGrid.data(), index, v);
    put_signed_by_seven<c, 64>(v, to, [&](auto p) MINKE_INLINED { return shr<p % 2 * 16 + 9>(q[p / 2]); });
  }
};

struct UnpackIq2S {
  static constexpr Format kFormat = Format::iq2_s;
  static constexpr int kBytes = 82, kSub = 16, kOffset = 64, kLargest = 107, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  struct Header {
    Vi high[2];  // two bits of each index, 32 columns a byte
  };
  template <typename At, typename To>
  static MINKE_INLINE Header header(const At& at, To& to) {
    set_scaled_d(at, 0.125f, to);
    set_odd_scales8<0>(at.word(74), to);
    set_odd_scales8<8>(at.word(78), to);
    return {{at.word(66), at.word(70)}};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const Header& header, To& to) {
    const Vi q = at.word(2 + 4 * c), signs = at.word(34 + 4 * c);
    const Vi high = byte_of<c % 4>(header.high[c / 4]);
    Vi index[4], v[8];
    unroll<4>([&](auto p)
                  MINKE_INLINED { index[p] = bit_or(byte_of<p>(q), shl<8>(bits_of(shr<2 * p>(high), 3))); });
    look_up(kIq2SGrid.data(), index, v);
    put_signed<c, 64>(v, signs, to);
  }
};

struct UnpackIq3Xxs {
  static constexpr Format kFormat = Format::iq3_xxs;
  static constexpr int kBytes = 98, kSub = 32, kOffset = 128, kLargest = 255, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    set_scaled_d(at, 0.25f, to);
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    const Vi q[2] = {at.word(2 + 8 * c), at.word(6 + 8 * c)};
    const Vi rest = at.word(66 + 4 * c);
    to.set_scale(Index<c>{}, odd_scale(shr<28>(rest)));
    Vi index[8], v[8];
    unroll<8>([&](auto f) MINKE_INLINED { index[f] = byte_of<f % 4>(q[f / 4]); });
    look_up(kIq3XxsGrid.data(), index, v);
    put_signed_by_seven<c, 128>(v, to, [&](auto p) MINKE_INLINED { return shr<7 * p>(rest); });
  }
};

struct UnpackIq3S {
  static constexpr Format kFormat = Format::iq3_s;
  static constexpr int kBytes = 110, kSub = 32, kOffset = 128, kLargest = 255, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  struct Header {
    Vi high[2];  // a bit of each index, 32 columns a byte
  };
  template <typename At, typename To>
  static MINKE_INLINE Header header(const At& at, To& to) {
    set_scaled_d(at, 1.0f, to);
    set_odd_scales8<0>(at.word(106), to);
    return {{at.word(66), at.word(70)}};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const Header& header, To& to) {
    const Vi q[2] = {at.word(2 + 8 * c), at.word(6 + 8 * c)};
    const Vi signs = at.word(74 + 4 * c), high = byte_of<c % 4>(header.high[c / 4]);
    Vi index[8], v[8];
    unroll<8>([&](auto f) MINKE_INLINED {
      index[f] = bit_or(byte_of<f % 4>(q[f / 4]), shl<8>(bits_of(shr<f>(high), 1)));
    });
    look_up(kIq3SGrid.data(), index, v);
    put_signed<c, 128>(v, signs, to);
  }
};

// Codes are 8 (-1, 0, 1) +- 1, 16 above; `down` has bit 0 set for - and nothing else.
template <int k, typename To>
MINKE_INLINE void put_moved(const Vi v[2], Vi down, To& to) {
  const Vi above = sub(bytes_of(9), mul(down, bytes_of(2)));
  to.codes(Index<k>{}, add(shl<3>(v[0]), above));
  to.codes(Index<k + 1>{}, add(shl<3>(v[1]), above));
}

struct UnpackIq1S {
  static constexpr Format kFormat = Format::iq1_s;
  static constexpr int kBytes = 50, kSub = 16, kOffset = 16, kLargest = 25,
                       kChunks = 8;  // 32 share a scale, in truth
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    set_scaled_d(at, 0.125f, to);
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    const Vi q = at.word(2 + 4 * c);
    const Vi high = shr<c % 2 * 16>(at.word(34 + c / 2 * 4));
    const Vi scale = odd_scale(bits_of(shr<12>(high), 7)), down = bits_of(shr<15>(high), 1);
    to.set_scale(Index<2 * c>{}, scale);
    to.set_scale(Index<2 * c + 1>{}, scale);
    Vi index[4], v[8];
    unroll<4>([&](auto p)
                  MINKE_INLINED { index[p] = bit_or(byte_of<p>(q), shl<8>(bits_of(shr<3 * p>(high), 7))); });
    look_up(kIq1Grid.data(), index, v);
    unroll<4>([&](auto p) MINKE_INLINED { put_moved<8 * c + 2 * p>(v + 2 * p, down, to); });
  }
};

struct UnpackIq1M {
  static constexpr Format kFormat = Format::iq1_m;
  static constexpr int kBytes = 56, kSub = 16, kOffset = 16, kLargest = 25, kChunks = 8;
  static constexpr bool kMin = false, kIntegerScales = true;
  template <typename At, typename To>
  static MINKE_INLINE NoHeader header(const At& at, To& to) {
    const Vi w[2] = {at.word(48), at.word(52)};
    const Vi low = bit_or(bits_of(shr<12>(w[0]), 15), shl<4>(shr<28>(w[0])));
    const Vi high = bit_or(bits_of(shr<12>(w[1]), 15), shl<4>(shr<28>(w[1])));
    to.set_d(mul(half_to_float(bit_or(low, shl<8>(high))), set1(0.125f)));
    unroll<16>([&](auto j) MINKE_INLINED {
      to.set_scale(j, odd_scale(bits_of(shr<j / 4 % 2 * 16 + j % 4 * 3>(w[j / 8]), 7)));
    });
    return {};
  }
  template <int c, typename At, typename To>
  static MINKE_INLINE void codes(const At& at, const NoHeader&, To& to) {
    const Vi q = at.word(4 * c), high = at.word(32 + 2 * c);
    Vi index[4], v[8];
    unroll<4>([&](auto p)
                  MINKE_INLINED { index[p] = bit_or(byte_of<p>(q), shl<8>(bits_of(shr<4 * p>(high), 7))); });
    look_up(kIq1Grid.data(), index, v);
    unroll<4>([&](auto p) MINKE_INLINED {
      put_moved<8 * c + 2 * p>(v + 2 * p, bits_of(shr<4 * p + 3>(high), 1), to);
    });
  }
};

}  // namespace
}  // namespace minke
