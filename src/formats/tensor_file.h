#pragma once
// Named tensors in mapped files, whatever the container: what GGUF and safetensors have in common.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "quant/format.h"

namespace minke {

// What a container can hold: every weight format and plain integers (positions, ids, test data).
enum class DType : uint8_t { weights, i8, i16, i32, i64, u8, f64, boolean };

// A tensor where it lies in a mapped file. shape is in row-major order, slowest first, as PyTorch prints it.
struct TensorView {
  std::string name = {};
  DType dtype = DType::weights;
  Format format = Format::f32;  // where dtype is weights
  std::vector<int64_t> shape = {};
  Bytes bytes = {};  // exactly the tensor's bytes, inside the file; those of safetensors may be unaligned

  int64_t count() const;         // product of shape
  std::string describe() const;  // "Q4_K [512, 2048]"
};

const char* type_name(const TensorView& tensor);  // "Q4_K", "I64"

// Bytes that a tensor of this type and shape takes; nothing where a dimension is negative, the last one no
// multiple of the format's block, or the product beyond 63 bits.
std::optional<int64_t> byte_size(const TensorView& tensor);

// The values, dequantised or widened. Throw Error naming the tensor where its type is no weight format or
// f64, or no integer or boolean.
std::vector<float> to_floats(const TensorView& tensor);
std::vector<int64_t> to_integers(const TensorView& tensor);

// 'name' for messages: control characters and what is no UTF-8 escaped, cut after 100 bytes. Names in a file
// may be anything.
std::string in_quotes(std::string_view name);

// The Error for a file that does not start like what was wanted ("GGUF"); says what it is where that is
// recognised.
Error not_a(std::string_view wanted, Bytes start);

}  // namespace minke
