// Which importance goes with which tensor of a plan.

#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "base/error.h"
#include "model/quantize.h"

namespace minke {
namespace {

int64_t matrices_of(const TensorView& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end() - 2, int64_t{1}, std::multiplies<>());
}

// Whether one row of statistics stands for all heads.
bool is_pooled(const PlannedTensor& tensor) {
  return tensor.to.name.ends_with("attn_v_b.weight") && tensor.importance->counts.size() == 1 &&
         static_cast<int64_t>(tensor.importance->sums.size()) == tensor.to.shape.back();
}

// Names under which statistics of the tensor's input may be found, its own first.
std::vector<std::string> names_of(const std::string& tensor) {
  struct Alike {
    std::string_view end;
    std::vector<std::string_view> others;
  };
  static const Alike kAlike[] = {{"ffn_gate_up_exps.weight", {"ffn_gate_exps.weight", "ffn_up_exps.weight"}},
                                 {"ffn_gate_exps.weight", {"ffn_up_exps.weight", "ffn_gate_up_exps.weight"}},
                                 {"ffn_up_exps.weight", {"ffn_gate_exps.weight", "ffn_gate_up_exps.weight"}},
                                 {"attn_v_b.weight", {"attn_kv_b.weight"}}};
  std::vector<std::string> names = {tensor};
  for (const Alike& alike : kAlike)
    if (tensor.ends_with(alike.end))
      for (const std::string_view other : alike.others)
        names.push_back(tensor.substr(0, tensor.size() - alike.end.size()) + std::string(other));
  return names;
}

const Importance* find(const ImportanceMatrix& matrix, const std::string& tensor) {
  for (const std::string& name : names_of(tensor))
    if (const auto found = matrix.tensors.find(name); found != matrix.tensors.end()) return &found->second;
  return nullptr;
}

bool is_rounded(const PlannedTensor& tensor) { return !tensor.copied() && info(tensor.to.format).block > 1; }

}  // namespace

std::vector<float> importance_of(const PlannedTensor& tensor) {
  const int64_t matrices = matrices_of(tensor.to), cols = tensor.to.shape.back();
  if (!is_pooled(tensor)) return tensor.importance->means(matrices, cols);
  const std::vector<float> one = tensor.importance->means(1, cols);
  std::vector<float> all;
  for (int64_t m = 0; m < matrices; ++m) all.insert(all.end(), one.begin(), one.end());
  return all;
}

ImportanceGaps use_importance(QuantizePlan& plan, const ImportanceMatrix& matrix, const fs::path& file) {
  ImportanceGaps gaps;
  bool any = false;
  for (PlannedTensor& tensor : plan.tensors) {
    if (!is_rounded(tensor)) continue;
    tensor.importance = find(matrix, tensor.to.name);
    if (!tensor.importance) {
      gaps.absent.push_back(tensor.to.name);
      continue;
    }
    any = true;
    const int64_t matrices = matrices_of(tensor.to), cols = tensor.to.shape.back();
    std::vector<float> means;
    try {
      means = importance_of(tensor);
    } catch (const Error& e) {
      throw e.within(fmt::format("{}: tensor {}", file.string(), in_quotes(tensor.to.name)));
    }
    int64_t unmet = 0;
    for (auto m = means.begin(); m != means.end(); m += cols)
      unmet += std::all_of(m, m + cols, [](float mean) { return mean == 0; });
    if (unmet > 0) gaps.unmet.push_back({tensor.to.name, unmet, matrices});
  }
  if (!any && !gaps.absent.empty())
    throw Error("has statistics of none of the tensors to be rounded", file.string(),
                "it was collected with another model");
  plan.importance = &matrix;
  plan.importance_file = file.filename().string();
  return gaps;
}

RowImportance::RowImportance(const PlannedTensor& tensor) {
  if (!tensor.importance) return;
  cols_ = tensor.to.shape.back();
  rows_ = tensor.to.shape[tensor.to.shape.size() - 2];
  means_ = importance_of(tensor);
  for (auto m = means_.begin(); m != means_.end(); m += cols_)
    met_.push_back(std::any_of(m, m + cols_, [](float mean) { return mean > 0; }));
}

std::vector<std::pair<std::string, GgufValue>> importance_keys(const ImportanceMatrix& matrix,
                                                               std::string_view file) {
  std::vector<std::pair<std::string, GgufValue>> keys;
  const auto add = [&](const char* end, GgufValue value) {
    keys.emplace_back(std::string(kImportanceKeys) + end, value);
  };
  add("file", {GgufType::string, file});
  if (!matrix.datasets.empty()) add("dataset", {GgufType::string, std::string_view(matrix.datasets.front())});
  add("entries_count", {GgufType::u32, uint64_t{matrix.tensors.size()}});
  add("chunks_count", {GgufType::u32, uint64_t{matrix.chunks}});
  return keys;
}

}  // namespace minke
