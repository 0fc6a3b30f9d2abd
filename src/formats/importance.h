#pragma once
// Importance matrices: how strongly a text uses each input column of each weight matrix, in the GGUF files
// that llama.cpp's llama-imatrix writes and the .dat files of its older versions (docs/formats.md).

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/tensor_file.h"

namespace minke {

// Of one tensor, which is a matrix or a stack of them.
struct Importance {
  std::vector<float> sums;    // [matrices][cols]: of the squares of all that met each column
  std::vector<float> counts;  // [matrices]: rows that met each; one number for all where the file has no more

  // [matrices][cols] mean squares, for a tensor of that shape; zeros for a matrix that nothing met.
  // Throws Error, without subject, where this is of another shape.
  std::vector<float> means(int64_t matrices, int64_t cols) const;
};

struct ImportanceMatrix {
  std::map<std::string, Importance, std::less<>> tensors;  // by the names of a GGUF model's tensors
  std::vector<std::string> datasets;                       // names of the texts
  uint32_t chunks = 0, chunk_tokens = 0;                   // chunk_tokens 0 where the file does not say
};

// Either kind of file. Throws Error naming the file, and the tensor at fault: cut short, counts that do not
// fit, numbers that are negative or not finite.
ImportanceMatrix read_importance(const fs::path& path);
ImportanceMatrix parse_importance(Bytes bytes, std::string_view name);  // `name` is what errors call it

// Appears whole or not at all; in the older format where the name ends in .dat. Throws Error naming the path.
void write_importance(const fs::path& path, const ImportanceMatrix& matrix);

}  // namespace minke
