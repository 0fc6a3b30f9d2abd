// room: formats
// Any bytes are a safetensors file whose every tensor can be read, or are refused with an Error.

#include "base/error.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const minke::Bytes file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto model = minke::Safetensors::parse(file, "fuzzed");
    size_t bytes = 0;
    for (const minke::TensorView& tensor : model.tensors()) {
      MINKE_CHECK(model.tensor(tensor.name) == &tensor);
      MINKE_CHECK(!tensor.describe().empty());
      MINKE_CHECK(minke::byte_size(tensor) == static_cast<int64_t>(tensor.bytes.size()));
      const bool integers = tensor.dtype != minke::DType::weights && tensor.dtype != minke::DType::f64;
      const size_t values = integers ? minke::to_integers(tensor).size() : minke::to_floats(tensor).size();
      MINKE_CHECK(values == static_cast<size_t>(tensor.count()));
      bytes += tensor.bytes.size();
    }
    MINKE_CHECK(bytes < size);
  } catch (const minke::Error&) {
  }
  return 0;
}
