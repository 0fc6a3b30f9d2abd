#pragma once
// The bytes of one tensor of a conversion's target, made from weights one at a time.

#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "formats/unfinished.h"
#include "model/convert.h"

namespace minke {

class TensorMaker {
 public:
  // moved(bytes): so many more are written, or were there; false from it ends the work.
  TensorMaker(const Model& model, const Conversion& conversion, int threads, UnfinishedOutput& out,
              std::function<bool(int64_t bytes)> moved);

  // Writes all of the tensor; false where it was ended. What is there already is neither read nor made.
  // Throws Error naming the tensor of the target: values that are not finite.
  bool write(const TargetTensor& tensor);

 private:
  template <typename Read>
  bool write_rows(const TargetTensor& tensor, int64_t rows, Read read, int64_t before = 0);
  bool write_weights(const TargetTensor& tensor);
  bool write_latent(const TargetTensor& tensor);
  bool write_experts(const TargetTensor& tensor);
  bool pass(int64_t bytes);
  void transpose(const Mat& mat, float* out, int64_t stride);

  const Model& model_;
  const Conversion& conversion_;
  ThreadPool pool_;
  UnfinishedOutput& out_;
  std::function<bool(int64_t)> moved_;
  RowImportance importance_;  // of the tensor being written
  std::vector<std::byte> blocks_;
  std::vector<std::vector<float>> rows_;  // [thread]
};

}  // namespace minke
