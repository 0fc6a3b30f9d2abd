#pragma once
// Rewrites a GGUF file with other weight formats (docs/quantizing.md).

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "formats/importance.h"

namespace minke {

// Which weights become what. Nothing: they stay as they are.
class TypeRules {
 public:
  // "Q4_K" or "experts=Q4_K,attn=Q8_0,blk.0.*=keep,default=Q5_K". Throws Error (subject "--type") for what is
  // no format or no name, and for a name twice.
  static TypeRules parse(std::string_view text);

  // Of the tensor by its name: that of a pattern with a dot ("blk.*.attn_v.weight"), else of its part
  // ("attn_v"), else of its group ("attn"), else the default. tied: no output.weight, so that `output` means
  // token_embd unless `embd` is said.
  std::optional<Format> of(std::string_view tensor, bool tied) const;
  const std::string& text() const { return text_; }

  // Of "*" in a pattern any text; for an error about rules that concern no tensor.
  struct Rule {
    std::string name;
    std::optional<Format> format;
  };
  const std::vector<Rule>& rules() const { return rules_; }

 private:
  const Rule* find(std::string_view name) const;

  std::string text_;
  std::vector<Rule> rules_;
};

// The group of a tensor: embd, output, attn, ffn, shared, experts; empty for others.
std::string_view weight_group(std::string_view tensor);

// Whether it is a matrix, or a stack of them, that may be quantised: no vector, norm, bias or router.
bool is_quantizable(const TensorView& tensor);

// For rows of so many columns: the format, or one of about the same size with shorter blocks, or nothing.
std::optional<Format> fitting_format(Format wanted, int64_t cols);

// What other programs call a file whose weights are mostly of this format (general.file_type).
uint64_t file_type(Format format);

// Throws Error (subject "--type") for a rule that concerns none of the tensors.
void check_names(std::span<const TensorView> tensors, const TypeRules& rules);

struct PlannedTensor {
  const TensorView* from = nullptr;        // in the source
  TensorView to;                           // without bytes
  std::optional<Format> wanted;            // where rows do not fill the blocks of what was asked for
  const Importance* importance = nullptr;  // of its columns; null: all alike
  bool copied() const { return from->dtype != DType::weights || from->format == to.format; }
};

struct QuantizePlan {
  std::string rules;
  std::vector<PlannedTensor> tensors;  // in the order of the source
  int64_t bytes_before = 0, bytes_after = 0;
  const ImportanceMatrix* importance = nullptr;
  std::string importance_file;  // its name
};

// Throws Error for a rule that concerns no tensor, and, unless allow_requantize, where a tensor that was
// rounded before would be rounded again.
QuantizePlan plan_quantize(const Gguf& gguf, const TypeRules& rules, bool allow_requantize);

// Tensors that are rounded to blocks without knowing which columns matter.
struct ImportanceGaps {
  std::vector<std::string> absent;  // no statistics at all
  struct Unmet {
    std::string tensor;
    int64_t matrices, of;
  };
  std::vector<Unmet> unmet;  // stacks of which the text met some matrices (experts) never
};

// Has the plan's tensors rounded by the importance of their columns; `matrix` outlives the plan. Where a file
// keeps tensors apart that others hold in one, or the other way round, statistics of the same input serve.
// Throws Error naming the file: statistics of another width than the tensor's, or of none of the tensors.
ImportanceGaps use_importance(QuantizePlan& plan, const ImportanceMatrix& matrix, const fs::path& file);

// [matrices][cols] mean squares for a tensor of the plan that has importance.
std::vector<float> importance_of(const PlannedTensor& tensor);

// What the columns of a tensor's rows weigh.
class RowImportance {
 public:
  explicit RowImportance(const PlannedTensor& tensor);  // of at least two dimensions, or without importance
  // Null where the text never met the row's matrix: then all columns are alike.
  const float* of_row(int64_t row) const {
    const auto matrix = static_cast<size_t>(row / rows_);
    return means_.empty() || !met_[matrix] ? nullptr : means_.data() + row / rows_ * cols_;
  }

 private:
  int64_t cols_ = 1, rows_ = 1;  // of a matrix
  std::vector<float> means_;
  std::vector<bool> met_;
};

// Keys by which a file says whose importance it was rounded with. The values are views into the arguments.
inline constexpr std::string_view kImportanceKeys = "quantize.imatrix.";
std::vector<std::pair<std::string, GgufValue>> importance_keys(const ImportanceMatrix& matrix,
                                                               std::string_view file);

struct QuantizeOptions {
  int threads = 1;
  bool overwrite = false;
  std::function<void(int64_t done, int64_t all)> progress;  // in bytes of the source
  std::function<bool()> stopped;                            // asked often; true leaves nothing behind
};

// What rounding did to the tensors that became one format.
struct Rounding {
  Format format = Format::f32;
  double error = 0, size = 0;  // sums of squares of what was lost, and of the values
};

struct Quantized {
  bool whole = false;  // false where it was stopped
  std::vector<Rounding> roundings;
};

// Writes the file, one piece of a tensor in memory at a time; it appears whole or not at all. Throws Error:
// the target is the source or is there, it cannot be written, a tensor has values that are not finite.
Quantized write_quantized(const Gguf& gguf, const QuantizePlan& plan, const fs::path& out,
                          const QuantizeOptions& options);

}  // namespace minke
