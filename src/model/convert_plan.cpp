// What a conversion is to write: the tensors of the target, from the same visitor that loads them.

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "formats/general_keys.h"
#include "model/convert.h"
#include "text/tokenizer_files.h"

namespace minke {
namespace {

bool is_float(Format format) {
  return format == Format::f32 || format == Format::f16 || format == Format::bf16;
}

std::vector<int64_t> shape_in_file(const Config& c, const WeightSlot& slot, Transform transform) {
  const int64_t rows = slot.rows, cols = slot.cols;
  switch (transform) {
    case Transform::as_is:
      if (slot.vector) return {cols};
      return {rows, cols};
    case Transform::expert_slice: return {c.moe->router.experts, rows, cols};
    case Transform::head_stack: return {c.heads, rows / c.heads, cols};
    case Transform::kv_b_keys:
    case Transform::kv_b_values: return {int64_t{c.heads} * (c.mla->nope + c.mla->v), c.mla->kv_lora};
    case Transform::gate_half:
    case Transform::up_half: return {c.moe->router.experts, cols, 2 * rows};
    case Transform::expert_transposed: return {c.moe->router.experts, cols, rows};
    case Transform::gate_rows:
    case Transform::up_rows: break;  // read, never written
  }
  MINKE_CHECK(false);
}

// Roles that are published in F32 even where all else is BF16: their last bits decide.
bool stays_f32(Role role) {
  return role == Role::router_bias || role == Role::index_k_norm || role == Role::index_k_bias;
}

class Planner {
 public:
  Planner(const Model& model, const ConversionOptions& options) : model_(model), options_(options) {
    plan_.to = model.gguf() ? Container::hugging_face : Container::gguf;
    plan_.config = model.config;
    plan_.config.rope.half = rope_half_in(model.config, plan_.to);
    if (!options.mtp) plan_.config.mtp_layers = plan_.config.mtp_announced = 0;
    plan_.source = options.source.empty() ? model.path.filename().string() : options.source;
    plan_.types = options.types.text();
  }

  Conversion plan() {
    collect();
    check_rules();
    for (TargetTensor& t : plan_.tensors) choose_format(t);
    use_importance_matrix();
    if (plan_.to == Container::hugging_face) {
      narrow_vectors();
      make_shards();
    } else {
      plan_.shard_ends = {plan_.tensors.size()};
    }
    for (const TensorView& t : tensors_of(model_)) plan_.bytes_before += static_cast<int64_t>(t.bytes.size());
    for (const TargetTensor& t : plan_.tensors) plan_.bytes_after += byte_size(t.to).value();
    say_what_is_left_out();
    return std::move(plan_);
  }

 private:
  void collect() {
    std::unordered_map<std::string, size_t> places;
    const Config& c = plan_.config;
    for_each_weight(model_.config, [&](const WeightSlot& slot) {
      if (slot.layer >= c.layers + c.mtp_layers) return;
      const Format format = format_in_source(slot);
      const Source source = sources_of(c, slot, plan_.to).front();
      add(places, source.name, source.transform, slot, format);
      for (const std::string& copy : copies_of(c, slot, plan_.to))
        add(places, copy, source.transform, slot, format);
    });
    if (plan_.to == Container::gguf && c.rope.scaling == RopeScaling::llama3) {
      TargetTensor freqs;
      freqs.to = {.name = "rope_freqs.weight", .format = Format::f32, .shape = {c.rope.dims / 2}};
      freqs.rule_name = freqs.to.name;
      plan_.tensors.push_back(std::move(freqs));
    }
  }

  Format format_in_source(const WeightSlot& slot) const {
    for (const Source& source : sources_of(model_.config, slot, model_.container())) {
      const TensorView* t =
          model_.gguf() ? model_.gguf()->tensor(source.name) : model_.folder()->weights.tensor(source.name);
      if (t) return t->format;
    }
    MINKE_CHECK(false, "{}", name(slot.role));  // loading has found all
  }

  // A tensor's format is that of its first weight until choose_format has a say.
  void add(std::unordered_map<std::string, size_t>& places, const std::string& name, Transform transform,
           const WeightSlot& slot, Format format) {
    const auto [place, fresh] = places.emplace(name, plan_.tensors.size());
    if (fresh) {
      TargetTensor t;
      t.to = {.name = name, .format = format, .shape = shape_in_file(plan_.config, slot, transform)};
      t.rule_name = sources_of(plan_.config, slot, Container::gguf).front().name;
      t.transform = transform;
      plan_.tensors.push_back(std::move(t));
    }
    plan_.tensors[place->second].slots.push_back(slot);
  }

  static TensorView as_gguf(const TargetTensor& t) {
    return {.name = t.rule_name, .format = t.to.format, .shape = t.to.shape};
  }

  void check_rules() const {
    std::vector<TensorView> views;
    for (const TargetTensor& t : plan_.tensors) views.push_back(as_gguf(t));
    check_names(views, options_.types);
    if (plan_.to == Container::gguf) return;
    for (const TypeRules::Rule& rule : options_.types.rules())
      if (rule.format && !is_float(*rule.format))
        throw Error(fmt::format("a Hugging Face folder holds no {}", name(*rule.format)), "--type",
                    "F32, F16 and BF16 can be written there");
  }

  // Other programs want vectors and routers of a GGUF file in F32. FP8 has scales GGUF knows nothing of, and
  // safetensors no blocks: such weights become BF16 unless a rule says otherwise.
  void choose_format(TargetTensor& t) {
    Format& format = t.to.format;
    const bool vector = t.to.shape.size() < 2;
    if (vector || (plan_.to == Container::gguf && t.slots.front().role == Role::router)) {
      format = Format::f32;
      return;
    }
    if (!is_float(format)) format = Format::bf16;
    if (!is_quantizable(as_gguf(t))) return;
    const std::optional<Format> asked = options_.types.of(t.rule_name, plan_.config.tied);
    if (!asked) return;
    format = fitting_format(*asked, t.to.shape.back()).value_or(format);
    if (format != *asked) t.wanted = asked;
  }

  void use_importance_matrix() {
    if (!options_.importance || plan_.to != Container::gguf) return;
    QuantizePlan rounded;
    const TensorView plain;  // F32: what becomes another type is rounded
    for (const TargetTensor& t : plan_.tensors)
      rounded.tensors.push_back({.from = &plain, .to = t.to, .wanted = {}});
    const ImportanceGaps gaps = use_importance(rounded, *options_.importance, options_.importance_file);
    for (size_t i = 0; i < plan_.tensors.size(); ++i)
      plan_.tensors[i].importance = rounded.tensors[i].importance;
    plan_.importance = options_.importance;
    plan_.importance_file = options_.importance_file;
    const auto say = [&](const std::string& first, size_t count, const char* what) {
      plan_.notes.push_back(fmt::format("{} {}{}: their columns count alike", what, in_quotes(first),
                                        count > 1 ? fmt::format(" and {} others", count - 1) : ""));
    };
    if (!gaps.absent.empty()) say(gaps.absent[0], gaps.absent.size(), "no importance for");
    if (!gaps.unmet.empty())
      say(gaps.unmet[0].tensor, gaps.unmet.size(), "the text never used all matrices of");
  }

  // Norms and routers that lay in F32 only because they came from a GGUF file go back to what the other
  // weights are, where nothing is lost by it.
  void narrow_vectors() {
    std::map<Format, int64_t> weights;
    for (const TargetTensor& t : plan_.tensors)
      if (is_quantizable(as_gguf(t))) weights[t.to.format] += t.to.count();
    const auto most = std::ranges::max_element(weights, {}, &std::pair<const Format, int64_t>::second);
    if (most == weights.end() || most->first == Format::f32) return;
    for (TargetTensor& t : plan_.tensors) {
      const WeightSlot& slot = t.slots.front();
      if (t.to.format != Format::f32 || stays_f32(slot.role) || (!slot.vector && slot.role != Role::router))
        continue;
      Arena made;
      if (holds(most->first, load_weight(model_, slot, made))) t.to.format = most->first;
    }
  }

  static bool holds(Format format, const Mat& mat) {
    const auto n = static_cast<size_t>(mat.cols);
    std::vector<float> row(n), back(n);
    std::vector<std::byte> codes(static_cast<size_t>(row_bytes(format, mat.cols)));
    for (int64_t r = 0; r < mat.rows; ++r) {
      dequantize_row(mat, r, row.data());
      info(format).quantize(row.data(), codes.data(), mat.cols);
      info(format).dequantize(codes.data(), back.data(), mat.cols);
      if (row != back) return false;
    }
    return true;
  }

  // Files of about shard_bytes, in each the wide elements first, so that all are aligned.
  void make_shards() {
    std::vector<TensorView> views;
    for (const TargetTensor& t : plan_.tensors) views.push_back(t.to);
    plan_.shard_ends = shard_ends(views, options_.shard_bytes);
    auto begin = plan_.tensors.begin();
    for (const size_t shard_end : plan_.shard_ends) {
      const auto end = plan_.tensors.begin() + static_cast<std::ptrdiff_t>(shard_end);
      std::stable_sort(begin, end, [](const TargetTensor& a, const TargetTensor& b) {
        return info(a.to.format).block_bytes > info(b.to.format).block_bytes;
      });
      begin = end;
    }
  }

  void say_what_is_left_out() {
    const Config& from = model_.config;
    if (from.mtp_layers > plan_.config.mtp_layers)
      plan_.notes.push_back(fmt::format("{} layer for multi-token prediction is left out", from.mtp_layers));
    int64_t others = 0;
    for (const TensorView& t : tensors_of(model_))
      others += t.name.starts_with("vision_model.") || t.name.starts_with("multi_modal_projector.");
    if (others > 0) plan_.notes.push_back(fmt::format("{} tensors for images are left out", others));
    if (plan_.to == Container::gguf)
      say_of_folder(*model_.folder());
    else if (!model_.gguf()->find("tokenizer.ggml.model"))
      plan_.notes.push_back(
          "the file has no tokenizer, and so the new folder has none: it cannot run by itself");
  }

  void say_of_folder(const HfFolder& folder) {
    GgufHeader unused;
    for (const std::string& name : add_licence_keys(unused, folder))
      plan_.notes.push_back(
          fmt::format("{} is no text, or too long a one, and is left out", in_quotes(name)));
    if (!folder.tokenizer) {
      plan_.notes.push_back(
          "there is no tokenizer.json, and so the new file has no tokenizer: it cannot run by itself");
      return;
    }
    for (std::string& loss : TokenizerFiles::read(*folder.tokenizer).losses())
      plan_.notes.push_back(std::move(loss));
  }

  const Model& model_;
  const ConversionOptions& options_;
  Conversion plan_;
};

}  // namespace

Conversion plan_conversion(const Model& model, const ConversionOptions& options) {
  return Planner(model, options).plan();
}

}  // namespace minke
