#include "model/adapters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/ranges.h>

#include "base/error.h"
#include "model/fields.h"

namespace minke {
namespace {

constexpr AdaptedMatrix kMatrices[] = {
    {Role::wq, "self_attn", "q_proj", &LayerWeights::wq, &LayerAdapters::wq},
    {Role::wk, "self_attn", "k_proj", &LayerWeights::wk, &LayerAdapters::wk},
    {Role::wv, "self_attn", "v_proj", &LayerWeights::wv, &LayerAdapters::wv},
    {Role::wo, "self_attn", "o_proj", &LayerWeights::wo, &LayerAdapters::wo},
    {Role::gate, "mlp", "gate_proj", &LayerWeights::gate, &LayerAdapters::gate},
    {Role::up, "mlp", "up_proj", &LayerWeights::up, &LayerAdapters::up},
    {Role::down, "mlp", "down_proj", &LayerWeights::down, &LayerAdapters::down}};

bool says_nothing(const Json& v) {
  return v.is_null() || (v.is_bool() && !v.as_bool()) || (v.is_string() && v.as_string().empty()) ||
         (v.is_array() && v.as_array().empty()) || (v.is_object() && v.as_object().empty());
}

// How adapters begin, where that leaves the model's own weights as they are. PiSSA, OLoRA and others take
// something out of them, and the adapter is of what is left.
bool leaves_weights(const Json& beginning) {
  if (!beginning.is_string()) return true;
  const std::string& name = beginning.as_string();
  return name == "gaussian" || name == "eva" || name == "orthogonal";
}

class AdapterFolder {
 public:
  AdapterFolder(Model& model, const fs::path& folder, const LoadOptions& options)
      : model_(model), folder_(folder), options_(options) {}

  void run() {
    require_folder();
    read_config();
    weights_ = Safetensors::open(folder_ / "adapter_model.safetensors");
    std::vector<LayerAdapters> layers(static_cast<size_t>(model_.config.layers));
    for (const AdaptedMatrix& matrix : kMatrices) read_matrix(matrix, layers);
    for (const TensorView& t : weights_.tensors())
      if (!used_.contains(t.name) && !options_.allowed.contains(t.name))
        throw wrong(t, "is no adapter of a matrix that this model has and that can have one",
                    fmt::format("{} of its {} layers can", adapted_names(), model_.config.layers));
    if (used_.empty()) throw Error("holds no adapters", weights_.path().string());
    model_.weights.adapters = std::move(layers);
  }

 private:
  void require_folder() const {
    constexpr const char* kHelp =
        "an adapter is a folder with adapter_config.json and adapter_model.safetensors, as minke train "
        "(OUTPUT/adapter) and PEFT write it";
    std::error_code unknown;
    if (!fs::is_directory(folder_, unknown)) throw Error("is no folder", folder_.string(), kHelp);
    const auto has = [&](const char* name) { return fs::exists(folder_ / name, unknown); };
    if (!has("adapter_config.json")) throw Error("holds no adapter_config.json", folder_.string(), kHelp);
    if (has("adapter_model.safetensors")) return;
    throw Error("holds no adapter_model.safetensors", folder_.string(),
                has("adapter_model.bin")
                    ? "adapter_model.bin is a program as much as data: PEFT saves safetensors by default"
                    : kHelp);
  }

  void read_config() {
    const fs::path file = folder_ / "adapter_config.json";
    Json said = JsonObject{};  // what is null or empty says nothing, whatever PEFT's version calls it
    try {
      const Json json = parse_json(read_file(file, 1 << 20));
      if (!json.is_object()) throw Error("is no JSON object");
      for (const auto& [key, value] : json.as_object())
        if (!says_nothing(value)) said.set(key, value);
    } catch (const Error& e) {
      if (!e.subject().empty()) throw;
      throw e.within(file.string());
    }
    JsonFields fields(said, file.string(), options_.allowed);
    fields.only("peft_type", "LORA");
    rank_ = fields.need("r", 1, kMostAdapterRank);
    const double alpha = fields.need_number("lora_alpha", -1e9, 1e9);
    const double divisor = fields.boolean("use_rslora").value_or(false) ? std::sqrt(rank_) : rank_;
    scale_ = static_cast<float>(alpha / divisor);
    for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"}) fields.only(key, false);
    fields.only("bias", "none");
    for (const char* key : {"modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication",
                            "trainable_token_indices", "target_parameters", "alora_invocation_tokens"})
      fields.only(key, Json());
    if (const Json* begins = fields.value("init_lora_weights"); begins && !leaves_weights(*begins))
      fields.wrong("init_lora_weights",
                   fmt::format("{} is not supported: such an adapter changes the model's own weights as well",
                               to_string(*begins)));
    read_targets(fields);
    some_layers_ = fields.value("layers_to_transform") != nullptr;
    if (const auto base = fields.string("base_model_name_or_path")) base_ = *base;
    fields.ignore({"auto_mapping", "revision", "task_type", "peft_version", "inference_mode", "lora_dropout",
                   "exclude_modules", "layers_pattern", "megatron_config", "megatron_core", "loftq_config",
                   "eva_config", "corda_config", "qalora_group_size", "runtime_config"});
    fields.finish();
  }

  // The list only says what the tensors' names say as well; a pattern is left to them.
  void read_targets(JsonFields& fields) {
    const Json* targets = fields.value("target_modules");
    if (!targets || !targets->is_array()) return;
    for (const Json& target : targets->as_array()) {
      if (!target.is_string()) fields.wrong("target_modules", "expected names");
      const std::string& path = target.as_string();
      const std::string name = path.substr(path.rfind('.') + 1);
      if (!adapted_matrix(name))
        fields.wrong("target_modules",
                     fmt::format("{} is not supported, only {} are", in_quotes(path), adapted_names()));
      targets_.insert(name);
    }
  }

  static std::string tensor_name(int layer, const AdaptedMatrix& m, char letter) {
    return fmt::format("base_model.model.model.layers.{}.{}.{}.lora_{}.weight", layer, m.block, m.name,
                       letter);
  }

  void read_matrix(const AdaptedMatrix& matrix, std::vector<LayerAdapters>& layers) {
    const MatrixShape shape = shape_of(model_.config, matrix);
    const int count = model_.config.layers;
    int found = 0;
    for (int layer = 0; layer < count; ++layer)
      found += weights_.tensor(tensor_name(layer, matrix, 'A')) ||
               weights_.tensor(tensor_name(layer, matrix, 'B'));
    const bool wanted = targets_.contains(std::string(matrix.name)) && !some_layers_;
    if (found == 0 && !wanted) return;
    for (int layer = 0; layer < count; ++layer) {
      const TensorView* a = weights_.tensor(tensor_name(layer, matrix, 'A'));
      const TensorView* b = weights_.tensor(tensor_name(layer, matrix, 'B'));
      if (!a && !b && some_layers_) continue;
      if (!a || !b)
        throw Error(fmt::format("tensor '{}' is missing", tensor_name(layer, matrix, a ? 'B' : 'A')),
                    weights_.path().string(), another_model());
      Adapter& adapter = layers[static_cast<size_t>(layer)].*matrix.adapter;
      adapter = {take(*a, rank_, shape.in, false), take(*b, shape.out, rank_, has_rope_rows(matrix.role)),
                 scale_};
    }
  }

  // The tensor's numbers in the model's memory; turned: their rows are those of queries or keys.
  Mat take(const TensorView& t, int rows, int cols, bool turned) {
    used_.insert(t.name);
    if (t.dtype != DType::weights ||
        (t.format != Format::f32 && t.format != Format::f16 && t.format != Format::bf16))
      throw wrong(t, fmt::format("is {}, adapters are F32, F16 or BF16", type_name(t)));
    if (t.shape != std::vector<int64_t>{rows, cols})
      throw wrong(t, fmt::format("expected shape [{}, {}], found {}", rows, cols, t.describe()),
                  another_model());
    for (const float v : to_floats(t))
      if (!std::isfinite(v)) throw wrong(t, "a number in it is not finite");
    Mat m{nullptr, nullptr, t.format, rows, cols, row_bytes(t.format, cols)};
    model_.made_bytes += (m.bytes() + 63) / 64 * 64;
    if (options_.dry) return m;
    std::byte* to = model_.made.take(m.bytes());
    m.data = to;
    const Config& c = model_.config;
    const bool turn = turned && !c.rope.half && rope_half_in(c, Container::hugging_face);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(to + r * m.row_bytes,
                  t.bytes.data() + (turn ? turned_row(r, c.head_dim, false) : r) * m.row_bytes,
                  static_cast<size_t>(m.row_bytes));
    return m;
  }

  Error wrong(const TensorView& t, std::string what, std::string help = {}) const {
    return Error(std::move(what), fmt::format("{}: tensor {}", weights_.path().string(), in_quotes(t.name)),
                 std::move(help));
  }

  std::string another_model() const {
    return base_.empty() ? "the file is incomplete, or the adapter is another model's"
                         : fmt::format("the adapter says it is one of {}", in_quotes(base_));
  }

  Model& model_;
  const fs::path& folder_;
  const LoadOptions& options_;
  Safetensors weights_;
  int rank_ = 0;
  float scale_ = 1;
  bool some_layers_ = false;  // not every layer has adapters
  std::string base_;
  std::set<std::string> targets_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

std::span<const AdaptedMatrix> adapted_matrices() { return kMatrices; }

const AdaptedMatrix* adapted_matrix(std::string_view name) {
  const auto* found = std::ranges::find(kMatrices, name, &AdaptedMatrix::name);
  return found == std::end(kMatrices) ? nullptr : found;
}

std::string adapted_names() {
  std::vector<std::string_view> names;
  for (const AdaptedMatrix& m : kMatrices) names.push_back(m.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

MatrixShape shape_of(const Config& config, const AdaptedMatrix& matrix) {
  MatrixShape shape{0, 0};
  for_each_weight(config, [&](const WeightSlot& slot) {
    if (slot.role == matrix.role && slot.layer == 0) shape = {slot.rows, slot.cols};
  });
  return shape;
}

bool takes_adapters(const Config& config) { return !config.mla && !config.moe; }

int largest_rank(const Weights& weights) {
  int rank = 0;
  for (const LayerAdapters& layer : weights.adapters)
    for (const AdaptedMatrix& m : kMatrices) rank = std::max(rank, (layer.*m.adapter).rank());
  return rank;
}

void load_adapters(Model& model, const fs::path& folder, const LoadOptions& options) {
  if (!takes_adapters(model.config))
    throw Error(fmt::format("adapters are for Llama and Qwen2 models, this one is {}", model.config.arch),
                folder.string());
  AdapterFolder(model, folder, options).run();
}

}  // namespace minke
