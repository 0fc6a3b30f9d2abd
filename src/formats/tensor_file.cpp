#include "formats/tensor_file.h"

#include <cstring>
#include <iterator>
#include <numeric>

#include <fmt/format.h>

#include "base/error.h"
#include "base/escape.h"

namespace minke {
namespace {

struct TypeRow {
  const char* name;
  int64_t bytes;
};

// In the order of DType; the first row is never asked.
constexpr TypeRow kTypes[] = {{"weights", 0}, {"I8", 1}, {"I16", 2}, {"I32", 4},
                              {"I64", 8},     {"U8", 1}, {"F64", 8}, {"BOOL", 1}};
static_assert(std::size(kTypes) == static_cast<size_t>(DType::boolean) + 1);

const TypeRow& row(DType dtype) { return kTypes[static_cast<size_t>(dtype)]; }

template <typename T, typename To>
std::vector<To> widened(Bytes bytes) {
  std::vector<To> values(bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<To>(value);
  }
  return values;
}

}  // namespace

int64_t TensorView::count() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::string TensorView::describe() const {
  return fmt::format("{} [{}]", type_name(*this), fmt::join(shape, ", "));
}

const char* type_name(const TensorView& tensor) {
  return tensor.dtype == DType::weights ? name(tensor.format) : row(tensor.dtype).name;
}

std::optional<int64_t> byte_size(const TensorView& tensor) {
  const bool blocks = tensor.dtype == DType::weights;
  const int64_t block = blocks ? info(tensor.format).block : 1;
  const int64_t block_bytes = blocks ? info(tensor.format).block_bytes : row(tensor.dtype).bytes;
  // Zeroes count as ones here: so no partial product overflows in whatever order one takes it.
  int64_t count = 1, bytes = 0;
  bool empty = false;
  for (const int64_t n : tensor.shape) {
    if (n < 0 || __builtin_mul_overflow(count, n == 0 ? 1 : n, &count)) return std::nullopt;
    empty = empty || n == 0;
  }
  if ((tensor.shape.empty() ? 1 : tensor.shape.back()) % block != 0) return std::nullopt;
  if (__builtin_mul_overflow(count / block, block_bytes, &bytes)) return std::nullopt;
  return empty ? 0 : bytes;
}

std::vector<float> to_floats(const TensorView& tensor) {
  if (tensor.dtype == DType::f64) return widened<double, float>(tensor.bytes);
  if (tensor.dtype != DType::weights)
    throw Error(fmt::format("holds {}, not numbers with a fraction", type_name(tensor)),
                fmt::format("tensor {}", in_quotes(tensor.name)));
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  info(tensor.format).dequantize(tensor.bytes.data(), values.data(), tensor.count());
  return values;
}

std::vector<int64_t> to_integers(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::i8: return widened<int8_t, int64_t>(tensor.bytes);
    case DType::i16: return widened<int16_t, int64_t>(tensor.bytes);
    case DType::i32: return widened<int32_t, int64_t>(tensor.bytes);
    case DType::i64: return widened<int64_t, int64_t>(tensor.bytes);
    case DType::u8:
    case DType::boolean: return widened<uint8_t, int64_t>(tensor.bytes);
    case DType::weights:
    case DType::f64: break;
  }
  throw Error(fmt::format("holds {}, not integers", type_name(tensor)),
              fmt::format("tensor {}", in_quotes(tensor.name)));
}

std::string in_quotes(std::string_view name) {
  constexpr size_t kMost = 100;
  return "'" + escaped(name.substr(0, kMost)) + (name.size() > kMost ? "...'" : "'");
}

Error not_a(std::string_view wanted, Bytes start) {
  struct Foreign {
    std::string_view start, what, help;
  };
  constexpr Foreign kForeign[] = {
      {"version https://git-lfs", "a Git LFS pointer", "fetch the file it points to"},
      {"<!DOCTYPE", "a web page", "the download went wrong"},
      {"<!doctype", "a web page", "the download went wrong"},
      {"<html", "a web page", "the download went wrong"},
      {"PK\x03\x04", "a zip archive, as PyTorch writes checkpoints", "convert it to safetensors"},
      {"GGUF", "a GGUF file", "name it *.gguf"},
      {"tjgg", "a file of the kind before GGUF", "convert the model again from its source"},
  };
  const std::string_view text = as_text(start);
  if (text.empty()) return Error(fmt::format("is empty, not a {} file", wanted), "", "download it again");
  for (const Foreign& foreign : kForeign)
    if (text.starts_with(foreign.start))
      return Error(fmt::format("is not a {} file but {}", wanted, foreign.what), "",
                   std::string(foreign.help));
  return Error(fmt::format("is not a {} file", wanted), "",
               fmt::format("it starts with {}", in_quotes(text.substr(0, 8))));
}

}  // namespace minke
