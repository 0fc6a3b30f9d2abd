// room: quant
// Any bytes of any format dequantise, and any values quantise; codes of single numbers survive the round
// trip. The first byte chooses the format.

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "quant/format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto formats = minke::all_formats();
  const minke::FormatInfo& format = formats[data[0] % formats.size()];
  const auto* bytes = reinterpret_cast<const std::byte*>(data + 1);
  const int64_t n = static_cast<int64_t>(size - 1) / format.block_bytes * format.block;
  std::vector<float> values(static_cast<size_t>(n));
  format.dequantize(bytes, values.data(), n);

  for (const minke::FormatInfo& other : formats) {
    if (!other.quantize) continue;
    const int64_t whole = n / other.block * other.block;
    std::vector<std::byte> blocks(static_cast<size_t>(minke::row_bytes(other.format, whole)));
    other.quantize(values.data(), blocks.data(), whole);
    if (&other != &format || format.block > 1) continue;
    for (int64_t i = 0; i < n; ++i) {
      const auto code_bytes = static_cast<size_t>(format.block_bytes),
                 at = static_cast<size_t>(i) * code_bytes;
      MINKE_CHECK(std::isnan(values[static_cast<size_t>(i)]) ||
                  std::memcmp(blocks.data() + at, bytes + at, code_bytes) == 0);
    }
  }
  return 0;
}
