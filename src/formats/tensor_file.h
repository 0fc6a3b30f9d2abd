#pragma once
// Named tensors in mapped files, whatever the container: what GGUF and safetensors have in common.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "quant/format.h"

namespace minke {

// What a container can hold: every weight format and plain integers (positions, ids, test data).
enum class DType : uint8_t { weights, i8, i16, i32, i64, u8, f64, boolean };

// A tensor where it lies in a mapped file. shape is in row-major order, slowest first, as PyTorch prints it.
struct TensorView {
  std::string name;
  DType dtype = DType::weights;
  Format format = Format::f32;  // where dtype is weights
  std::vector<int64_t> shape;
  Bytes bytes;                  // exactly the tensor's bytes, checked to lie inside the file

  int64_t count() const;        // product of shape
  std::string describe() const; // "Q4_K [512, 2048]"
};

}  // namespace minke
