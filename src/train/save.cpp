#include "train/save.h"

#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/float.h"
#include "formats/safetensors.h"
#include "formats/unfinished.h"
#include "model/architecture.h"

namespace minke {
namespace {

constexpr int64_t kShardBytes = 5'000'000'000;

// A tensor of the folder, and how its rows come about.
struct Tensor {
  TensorView view;  // without bytes
  std::function<void(int64_t row, float* values)> row;
};

class Folder {
 public:
  Folder(const Config& config, const Weights& weights, Format format)
      : c_(config), weights_(weights), format_(format) {}

  std::vector<Tensor> tensors() {
    Weights views = weights_;
    for_each_weight(c_, views, [&](const WeightSlot& slot, Mat& m) { add(slot, m); });
    return std::move(tensors_);
  }

 private:
  void add(const WeightSlot& slot, const Mat& m) {
    if (slot.role == Role::v_b) return;  // with k_b
    const std::string name = sources_of(c_, slot, Container::hugging_face).front().name;
    const bool turn = has_rope_rows(slot.role) && !c_.rope.half && rope_half_in(c_, Container::hugging_face);
    if (slot.role == Role::k_b) return add_latent(name, slot);
    if (slot.vector) {
      const int64_t dims = c_.head_dim;
      put(name, Format::f32, {slot.cols}, [=](int64_t, float* to) {
        for (int64_t i = 0; i < m.cols; ++i) to[i] = m.f32()[turn ? turned_row(i, dims, true) : i];
      });
      return;
    }
    const int64_t dims = c_.head_dim;
    const auto row = [=](int64_t r, float* to) {
      std::copy_n(m.f32() + (turn ? turned_row(r, dims, true) : r) * m.cols, m.cols, to);
    };
    put(name, format_, {slot.rows, slot.cols}, row);
    for (const std::string& copy : copies_of(c_, slot, Container::hugging_face))
      put(copy, format_, {slot.rows, slot.cols}, row);
  }

  // kv_b: each head's rows for keys, transposed back, and then those for values.
  void add_latent(const std::string& name, const WeightSlot& slot) {
    const MlaConfig m = *c_.mla;
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(slot.layer)];
    const float *keys = layer.k_b.f32(), *values = layer.v_b.f32();
    const int64_t per_head = m.nope + m.v;
    put(name, format_, {c_.heads * per_head, m.kv_lora}, [=](int64_t r, float* to) {
      const int64_t h = r / per_head, i = r % per_head;
      if (i >= m.nope) {
        std::copy_n(values + (h * m.v + i - m.nope) * m.kv_lora, m.kv_lora, to);
        return;
      }
      for (int64_t j = 0; j < m.kv_lora; ++j) to[j] = keys[(h * m.kv_lora + j) * m.nope + i];
    });
  }

  void put(const std::string& name, Format format, std::vector<int64_t> shape,
           std::function<void(int64_t, float*)> row) {
    tensors_.push_back({{.name = name, .format = format, .shape = std::move(shape)}, std::move(row)});
  }

  const Config& c_;
  const Weights& weights_;
  Format format_;
  std::vector<Tensor> tensors_;
};

void write_tensor(UnfinishedOutput& out, const Tensor& t) {
  const int64_t cols = t.view.shape.back(), rows = t.view.count() / cols,
                bytes = row_bytes(t.view.format, cols);
  const int64_t at_once = std::clamp<int64_t>((1 << 20) / cols, 1, rows);
  std::vector<float> values(static_cast<size_t>(cols));
  std::vector<std::byte> piece;
  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t count = std::min(at_once, rows - first);
    piece.resize(static_cast<size_t>(count * bytes));
    for (int64_t r = 0; r < count; ++r) {
      t.row(first + r, values.data());
      info(t.view.format).quantize(values.data(), piece.data() + r * bytes, cols);
    }
    out.write(piece);
  }
}

void write_weights(UnfinishedOutput& out, std::span<const Tensor> tensors) {
  std::vector<TensorView> views;
  for (const Tensor& t : tensors) views.push_back(t.view);
  const SafetensorsShards made = safetensors_shards(views, shard_ends(views, kShardBytes));
  for (const SafetensorsShards::Shard& shard : made.shards) {
    out.begin(shard.name);
    out.write(as_bytes(shard.header));
    for (const Tensor& t : tensors.subspan(shard.begin, shard.end - shard.begin)) write_tensor(out, t);
    out.end();
  }
  if (!made.index.empty()) out.write_file(kSafetensorsIndexName, made.index);
}

UnfinishedOutput new_folder(const fs::path& path) {
  std::error_code none;
  fs::path unfinished = path;
  fs::remove_all(unfinished += ".unfinished", none);  // of a run that ended while it saved
  return UnfinishedOutput(path, {.kind = UnfinishedOutput::Kind::folder, .identity = "training"});
}

}  // namespace

void save_model(const fs::path& folder, const Config& config, const Weights& weights, Format format,
                std::span<const fs::path> files) {
  Config as_saved = config;
  as_saved.rope.half = rope_half_in(config, Container::hugging_face);
  const std::vector<Tensor> tensors = Folder(config, weights, format).tensors();
  UnfinishedOutput out = new_folder(folder);
  write_weights(out, tensors);
  const char* dtype = format == Format::f32 ? "float32" : "bfloat16";
  out.write_file("config.json", to_string(config_to_json(as_saved, dtype), 2) + "\n");
  for (const fs::path& file : files) out.write_file(file.filename().string(), read_file(file));
  out.finish();
}

void save_adapters(const fs::path& folder, const Config& config, const LoraConfig& lora,
                   const Adapters& adapters, const std::string& base) {
  std::vector<std::vector<float>> turned;  // B of queries and keys, whose rows are those of wq and wk
  const bool turn = !config.rope.half && rope_half_in(config, Container::hugging_face);
  std::vector<TensorView> views;
  for_each_adapter(adapters, [&](int layer, const AdaptedMatrix& matrix, const Adapter& adapter) {
    const std::string name =
        fmt::format("base_model.model.model.layers.{}.{}.{}.lora_", layer, matrix.block, matrix.name);
    Mat b = adapter.b;
    if (turn && has_rope_rows(matrix.role)) {
      std::vector<float>& rows = turned.emplace_back();
      for (int64_t r = 0; r < b.rows; ++r) {
        const float* from = b.f32() + turned_row(r, config.head_dim, true) * b.cols;
        rows.insert(rows.end(), from, from + b.cols);
      }
      b.data = reinterpret_cast<const std::byte*>(rows.data());
    }
    for (const auto& [letter, m] : {std::pair{"A", &adapter.a}, std::pair{"B", &std::as_const(b)}})
      views.push_back({.name = name + letter + ".weight",
                       .shape = {m->rows, m->cols},
                       .bytes = {m->data, static_cast<size_t>(m->bytes())}});
  });
  Json json =
      JsonObject{{"peft_type", "LORA"}, {"task_type", "CAUSAL_LM"}, {"base_model_name_or_path", base}};
  json.set("r", lora.rank);
  json.set("lora_alpha", lora.alpha);
  json.set("lora_dropout", 0.0);
  json.set("bias", "none");
  json.set("fan_in_fan_out", false);
  json.set("inference_mode", true);
  JsonArray targets;
  for (const AdaptedMatrix& matrix : adapted_matrices())
    if (lora.targets_matrix(matrix)) targets.push_back(matrix.name);
  json.set("target_modules", std::move(targets));
  UnfinishedOutput out = new_folder(folder);
  const std::pair<std::string, std::string> format = {"format", "pt"};
  out.begin("adapter_model.safetensors");
  out.write(as_bytes(safetensors_header(views, {&format, 1})));
  for (const TensorView& view : views) out.write(view.bytes);
  out.end();
  out.write_file("adapter_config.json", to_string(json, 2) + "\n");
  out.finish();
}

}  // namespace minke
