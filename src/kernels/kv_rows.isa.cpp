// Numbers into heads of cache rows and back (kv_format.h).

#include <algorithm>
#include <cstring>

#include "kernels/attention_words.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

namespace minke {
namespace {

// f(first, how many) for 16 numbers at a time; the last may be fewer.
template <typename F>
MINKE_INLINE void for_words(int first, int last, const F& f) {
  for (; first < last; first += 16) f(first, std::min(16, last - first));
}

// The low bytes of the first n lanes.
MINKE_INLINE void store_bytes(std::byte* to, Vi x, int n) {
  alignas(16) int8_t bytes[16];
  store_i8(bytes, x);
  std::memcpy(to, bytes, static_cast<size_t>(n));
}

// The least bf16 of which `most` makes `peak`; 0 for what is nearly nothing, whose inverse would be infinite.
struct Scale {
  float scale, inverse;
};
MINKE_INLINE Scale scale_for(float peak, float most, std::byte* to) {
  uint32_t bits;
  const float exact = peak * (1.0f / most);
  std::memcpy(&bits, &exact, 4);
  const uint32_t upper = exact < 0x1p-100f ? 0 : (bits + 0xffff) >> 16;
  const uint16_t stored = static_cast<uint16_t>(upper);
  std::memcpy(to, &stored, 2);
  Scale s;
  bits = upper << 16;
  std::memcpy(&s.scale, &bits, 4);
  s.inverse = s.scale > 0.0f ? 1.0f / s.scale : 0.0f;
  return s;
}

MINKE_INLINE float peak_of(const float* x, int first, int last) {
  Vf top = zero_f();
  for_words(first, last, [&](int i, int n) { top = max(abs(load_first(x + i, n)), top); });
  return largest(top);
}

void store_int8(const float* x, int width, std::byte* scales, std::byte* codes) {
  for (int g = 0; g * kKvGroup < width; ++g) {
    const int first = g * kKvGroup, last = std::min(width, first + kKvGroup);
    const Vf inverse = set1(scale_for(peak_of(x, first, last), 127.0f, scales + 2 * g).inverse);
    for_words(first, last,
              [&](int i, int n) { store_bytes(codes + i, to_int(mul(load_first(x + i, n), inverse)), n); });
  }
}

void store_fp8(const float* x, int width, std::byte* scales, std::byte* codes) {
  const Vf inverse = set1(scale_for(peak_of(x, 0, width), 448.0f, scales).inverse);
  for_words(0, width, [&](int i, int n) {
    const Vf value = mul(load_first(x + i, n), inverse);
    const Vi bits = as_int(min(max(abs(value), set1(0x1p-6f)), set1(448.0f)));
    const Vi rounded = shr<20>(add(bits, add(bit_and(shr<20>(bits), set1(1)), set1(0x7ffff))));
    const Vi sign = bit_and(shr<24>(as_int(value)), set1(0x80));
    store_bytes(codes + i, bit_or(sub(rounded, set1(120 << 3)), sign), n);
  });
}

void to_bf16(const float* x, int n, uint16_t* out) {
  for_words(0, n, [&](int i, int here) {
    const Vi rounded = rounded_bf16(load_first(x + i, here));
    if (here == 16) return store_u16(out + i, rounded);
    uint16_t last[16];
    store_u16(last, rounded);
    std::memcpy(out + i, last, static_cast<size_t>(here) * 2);
  });
}

void store_kv(KvFormat format, const float* x, int width, std::byte* head) {
  std::byte* numbers = head + kv_scale_bytes(format, width);
  switch (format) {
    case KvFormat::f32: std::memcpy(numbers, x, static_cast<size_t>(width) * 4); break;
    case KvFormat::bf16: to_bf16(x, width, reinterpret_cast<uint16_t*>(numbers)); break;
    case KvFormat::int8: store_int8(x, width, head, numbers); break;
    case KvFormat::fp8: store_fp8(x, width, head, numbers); break;
  }
}

// f(first) gives the 16 numbers from `first`, or as many as there are.
template <typename F>
MINKE_INLINE void put_words(int count, float* x, const F& f) {
  for_words(0, count, [&](int i, int n) { store_first(x + i, f(i), n); });
}

// The numbers from `i` of a head with some bytes each; what follows the head is not read.
template <int bytes>
MINKE_INLINE Vi words_at(const std::byte* numbers, int width, int i) {
  const auto widened = [](const void* p) MINKE_INLINED { return bytes == 2 ? load_u16(p) : load_u8(p); };
  if (width - i >= 16) return widened(numbers + bytes * i);
  std::byte last[16 * bytes] = {};
  std::memcpy(last, numbers + bytes * i, static_cast<size_t>((width - i) * bytes));
  return widened(last);
}

MINKE_INLINE Vf scale_at(const std::byte* head, int g) {
  uint16_t upper;
  std::memcpy(&upper, head + 2 * g, 2);
  return as_float(shl<16>(set1(static_cast<int32_t>(upper))));
}

void load_kv(KvFormat format, const std::byte* head, int width, int count, float* x) {
  const std::byte* numbers = head + kv_scale_bytes(format, width);
  switch (format) {
    case KvFormat::f32: std::memcpy(x, numbers, static_cast<size_t>(count) * 4); break;
    case KvFormat::bf16:
      put_words(count, x, [&](int i) { return as_float(shl<16>(words_at<2>(numbers, width, i))); });
      break;
    case KvFormat::int8:
      static_assert(kKvGroup % 16 == 0);
      put_words(count, x, [&](int i) {
        return mul(to_float(sar<24>(shl<24>(words_at<1>(numbers, width, i)))), scale_at(head, i / kKvGroup));
      });
      break;
    case KvFormat::fp8:
      put_words(count, x, [&](int i) {
        return mul(as_float(shl<16>(fp8_pair(words_at<1>(numbers, width, i)))), scale_at(head, 0));
      });
      break;
  }
}

}  // namespace

void MINKE_FILL(kv_rows)(Kernels& table) {
  table.store_kv = store_kv;
  table.load_kv = load_kv;
  table.to_bf16 = to_bf16;
}

}  // namespace minke
