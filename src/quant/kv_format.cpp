#include "quant/kv_format.h"

#include <cstring>

#include "base/float.h"

namespace minke {
namespace {

uint16_t u16_at(const std::byte* p) {
  uint16_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

}  // namespace

float kv_number(KvFormat format, const std::byte* head, int width, int i) {
  const std::byte* numbers = head + kv_scale_bytes(format, width);
  switch (format) {
    case KvFormat::f32: {
      float x;
      std::memcpy(&x, numbers + 4 * i, sizeof x);
      return x;
    }
    case KvFormat::bf16: return bf16_to_f32(u16_at(numbers + 2 * i));
    case KvFormat::int8:
      return static_cast<float>(std::to_integer<int8_t>(numbers[i])) *
             bf16_to_f32(u16_at(head + 2 * (i / kKvGroup)));
    case KvFormat::fp8: break;
  }
  return e4m3_to_f32(std::to_integer<uint8_t>(numbers[i])) * bf16_to_f32(u16_at(head));
}

}  // namespace minke
