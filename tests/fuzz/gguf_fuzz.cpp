// room: formats
// Any bytes are a GGUF file whose every value and tensor can be read, or are refused with an Error.

#include "base/error.h"
#include "formats/gguf.h"

namespace {

// Reads the key in every way there is; each gives a value or says what it is instead.
void read(const minke::Gguf& gguf, std::string_view key) {
  int read = 0;
  const auto attempt = [&](auto get) {
    try {
      MINKE_CHECK((gguf.*get)(key).has_value());
      ++read;
    } catch (const minke::Error&) {
    }
  };
  attempt(&minke::Gguf::integer);
  attempt(&minke::Gguf::number);
  attempt(&minke::Gguf::boolean);
  attempt(&minke::Gguf::string);
  attempt(&minke::Gguf::integers);
  attempt(&minke::Gguf::numbers);
  attempt(&minke::Gguf::strings);
  const auto* array = std::get_if<minke::GgufArray>(&gguf.find(key)->value);
  MINKE_CHECK(read > 0 || (array && array->type == minke::GgufType::boolean));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const minke::Bytes file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const minke::Gguf gguf = minke::Gguf::parse(file, "fuzzed");
    for (const auto& [key, value] : gguf.metadata()) read(gguf, key);
    for (const minke::TensorView& tensor : gguf.tensors()) {
      MINKE_CHECK(gguf.tensor(tensor.name) == &tensor);
      MINKE_CHECK(tensor.bytes.data() >= file.data());
      MINKE_CHECK(tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size());
      MINKE_CHECK(minke::byte_size(tensor) == static_cast<int64_t>(tensor.bytes.size()));
      MINKE_CHECK(!tensor.describe().empty() && tensor.count() > 0);
    }
  } catch (const minke::Error&) {
  }
  return 0;
}
