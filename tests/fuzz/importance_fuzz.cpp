// room: formats
// Any bytes are an importance matrix whose numbers can be used, or are refused with an Error.

#include <cmath>

#include "base/error.h"
#include "formats/importance.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const minke::ImportanceMatrix matrix =
        minke::parse_importance({reinterpret_cast<const std::byte*>(data), size}, "fuzzed");
    for (const auto& [name, importance] : matrix.tensors) {
      const auto matrices = static_cast<int64_t>(importance.counts.size());
      const auto cols = static_cast<int64_t>(importance.sums.size()) / matrices;
      MINKE_CHECK(cols > 0 && importance.sums.size() * sizeof(float) <= size);
      for (const float mean : importance.means(matrices, cols)) MINKE_CHECK(std::isfinite(mean) && mean >= 0);
    }
  } catch (const minke::Error&) {
  }
  return 0;
}
