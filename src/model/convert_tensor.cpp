#include "model/convert_tensor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "quant/encode.h"

namespace minke {
namespace {

constexpr int64_t kPieceWeights = int64_t{2} << 20;  // made and written at once
constexpr int kTile = 16;                            // rows that are transposed together

bool all_finite(const float* values, int64_t n) {
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) finite = finite && std::isfinite(values[i]);
  return finite;
}

}  // namespace

TensorMaker::TensorMaker(const Model& model, const Conversion& conversion, int threads, UnfinishedOutput& out,
                         std::function<bool(int64_t)> moved)
    : model_(model),
      conversion_(conversion),
      pool_(threads),
      out_(out),
      moved_(std::move(moved)),
      importance_({}),
      rows_(static_cast<size_t>(threads)) {}

// Whether the next bytes of the target are there.
bool TensorMaker::pass(int64_t bytes) { return out_.skip(static_cast<uint64_t>(bytes)); }

// read(r, values) gives row r; rows of a piece in parallel. before: rows of the tensor ahead of these.
template <typename Read>
bool TensorMaker::write_rows(const TargetTensor& tensor, int64_t rows, Read read, int64_t before) {
  const Format format = tensor.to.format;
  const int64_t cols = tensor.to.shape.back(), bytes = row_bytes(format, cols);
  const int64_t at_once = std::clamp(kPieceWeights / cols, int64_t{1}, rows);
  for (std::vector<float>& row : rows_) row.resize(static_cast<size_t>(cols));
  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t count = std::min(at_once, rows - first);
    if (!pass(count * bytes)) {
      blocks_.resize(static_cast<size_t>(count * bytes));
      std::atomic<bool> finite = true;
      pool_.for_each(count, std::max(int64_t{1}, 16384 / cols), [&](int64_t begin, int64_t end, int thread) {
        float* values = rows_[static_cast<size_t>(thread)].data();
        for (int64_t r = begin; r < end; ++r) {
          read(first + r, values);
          if (!all_finite(values, cols)) finite = false;
          encode(format, values, importance_.of_row(before + first + r), blocks_.data() + r * bytes, cols);
        }
      });
      if (!finite)
        throw Error("has values that are not finite", fmt::format("tensor {}", in_quotes(tensor.to.name)),
                    "the source is damaged, or was made wrongly");
      out_.write(blocks_);
    }
    if (!moved_(count * bytes)) return false;
  }
  return true;
}

// Weights that lie in the tensor one after the other, row by row.
bool TensorMaker::write_weights(const TargetTensor& tensor) {
  const Config &from = model_.config, &to = conversion_.config;
  const int64_t cols = tensor.to.shape.back(), bytes = row_bytes(tensor.to.format, cols);
  int64_t before = 0;
  for (const WeightSlot& slot : tensor.slots) {
    const int64_t first = std::exchange(before, before + slot.rows);
    if (pass(slot.rows * bytes)) {
      if (!moved_(slot.rows * bytes)) return false;
      continue;
    }
    Arena made;
    const Mat mat = load_weight(model_, slot, made);
    const bool turn = from.rope.half != to.rope.half && has_rope_rows(slot.role);
    const int64_t dims = from.head_dim;
    const bool half = to.rope.half;
    const auto read = [&](int64_t r, float* values) {
      dequantize_row(mat, turn && !slot.vector ? turned_row(r, dims, half) : r, values);
      if (!turn || !slot.vector) return;
      std::vector<float> given(values, values + cols);
      for (int64_t i = 0; i < cols; ++i) values[i] = given[static_cast<size_t>(turned_row(i, dims, half))];
    };
    if (!write_rows(tensor, mat.rows, read, first)) return false;
  }
  return true;
}

// out[c * stride + r] = mat[r][c]
void TensorMaker::transpose(const Mat& mat, float* out, int64_t stride) {
  const auto cols = static_cast<size_t>(mat.cols);
  for (std::vector<float>& rows : rows_) rows.resize(std::max(rows.size(), kTile * cols));
  pool_.for_each(mat.rows, kTile, [&](int64_t begin, int64_t end, int thread) {
    float* tile = rows_[static_cast<size_t>(thread)].data();
    for (int64_t r = begin; r < end; ++r) dequantize_row(mat, r, tile + (r - begin) * mat.cols);
    for (int64_t c = 0; c < mat.cols; ++c)
      for (int64_t r = begin; r < end; ++r) out[c * stride + r] = tile[(r - begin) * mat.cols + c];
  });
}

// kv_b: each head's rows for keys, transposed back, and then those for values.
bool TensorMaker::write_latent(const TargetTensor& tensor) {
  MINKE_CHECK(tensor.slots.size() == 2 && tensor.slots[0].role == Role::k_b);
  const int64_t bytes = byte_size(tensor.to).value();
  if (pass(bytes)) return moved_(bytes);
  const MlaConfig& m = *model_.config.mla;
  Arena made;
  const Mat k_b = load_weight(model_, tensor.slots[0], made),
            v_b = load_weight(model_, tensor.slots[1], made);
  const int64_t per_head = m.nope + m.v;
  std::vector<float> keys(static_cast<size_t>(int64_t{k_b.rows} * k_b.cols));  // [H][nope][kv_lora]
  std::vector<float> row(static_cast<size_t>(m.nope));
  for (int64_t r = 0; r < k_b.rows; ++r) {
    dequantize_row(k_b, r, row.data());
    const int64_t h = r / m.kv_lora, c = r % m.kv_lora;
    for (int64_t i = 0; i < m.nope; ++i)
      keys[static_cast<size_t>((h * m.nope + i) * m.kv_lora + c)] = row[static_cast<size_t>(i)];
  }
  return write_rows(tensor, model_.config.heads * per_head, [&](int64_t r, float* values) {
    const int64_t h = r / per_head, i = r % per_head;
    if (i < m.nope)
      std::copy_n(keys.begin() + (h * m.nope + i) * m.kv_lora, m.kv_lora, values);
    else
      dequantize_row(v_b, h * m.v + i - m.nope, values);
  });
}

// Llama 4's stacks, [inputs][outputs] for each expert; gate and up side by side.
bool TensorMaker::write_experts(const TargetTensor& tensor) {
  const int64_t rows = tensor.to.shape[1], cols = tensor.to.shape[2];
  const int64_t bytes = rows * row_bytes(tensor.to.format, cols);
  const size_t parts = tensor.transform == Transform::expert_transposed ? 1 : 2;
  std::vector<float> expert;
  for (size_t i = 0; i < tensor.slots.size(); i += parts) {
    if (pass(bytes)) {
      if (!moved_(bytes)) return false;
      continue;
    }
    expert.resize(static_cast<size_t>(rows * cols));
    for (size_t part = 0; part < parts; ++part) {
      MINKE_CHECK(parts == 1 ||
                  tensor.slots[i + part].role == (part == 0 ? Role::expert_gate : Role::expert_up));
      Arena made;
      const Mat mat = load_weight(model_, tensor.slots[i + part], made);
      transpose(mat, expert.data() + static_cast<int64_t>(part) * mat.rows, cols);
    }
    if (!write_rows(tensor, rows,
                    [&](int64_t r, float* values) { std::copy_n(expert.begin() + r * cols, cols, values); }))
      return false;
  }
  return true;
}

bool TensorMaker::write(const TargetTensor& tensor) {
  importance_ =
      RowImportance({.from = nullptr, .to = tensor.to, .wanted = {}, .importance = tensor.importance});
  if (tensor.slots.empty()) {
    const std::vector<float> divisors = rope_divisors(conversion_.config.rope);
    return write_rows(tensor, 1, [&](int64_t, float* values) { std::ranges::copy(divisors, values); });
  }
  switch (tensor.transform) {
    case Transform::kv_b_keys:
    case Transform::kv_b_values: return write_latent(tensor);
    case Transform::gate_half:
    case Transform::up_half:
    case Transform::expert_transposed: return write_experts(tensor);
    default: return write_weights(tensor);
  }
}

}  // namespace minke
