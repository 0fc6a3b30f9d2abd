#pragma once
// For tests: the GGUF file that a converter makes of a Hugging Face folder, written from the format's
// description (MODEL.md 1.1, 1.3, 1.4) without the tables that read it.

#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <numbers>
#include <string>
#include <variant>
#include <vector>

#include "formats/gguf_writer.h"
#include "formats/hf_folder.h"
#include "model/test_models.h"

namespace minke {

// A GGUF file in memory, to be altered and written.
class TestGguf {
 public:
  using Value = std::variant<int64_t, double, bool, std::string, std::vector<int32_t>>;

  void set(const std::string& key, Value value) { keys_[key] = std::move(value); }
  void erase(const std::string& key) { EXPECT_EQ(keys_.erase(key), 1u) << key; }
  bool has(const std::string& key) const { return keys_.contains(key); }

  // ne in row-major order, slowest first.
  void add(const std::string& name, Format format, std::vector<int64_t> shape, std::string bytes) {
    tensors_.push_back({name, format, std::move(shape), std::move(bytes)});
  }
  void add(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
    add(name, Format::f32, std::move(shape), std::string(as_text(std::as_bytes(std::span(values)))));
  }
  void drop(std::string_view start) {
    EXPECT_GT(std::erase_if(tensors_, [&](const Tensor& t) { return t.name.starts_with(start); }), 0u)
        << start;
  }

  void write(const fs::path& path) const { write_part(path, 0, tensors_.size(), 0, 1); }

  // NAME-0000K-of-0000N.gguf; returns the first.
  fs::path write_split(const fs::path& stem, int parts) const {
    const size_t each = (tensors_.size() + static_cast<size_t>(parts) - 1) / static_cast<size_t>(parts);
    const auto path = [&](int part) {
      return fmt::format("{}-{:05}-of-{:05}.gguf", stem.string(), part + 1, parts);
    };
    for (int part = 0; part < parts; ++part) {
      const size_t first = std::min(tensors_.size(), static_cast<size_t>(part) * each);
      write_part(path(part), first, std::min(tensors_.size(), first + each), part, parts);
    }
    return path(0);
  }

 private:
  struct Tensor {
    std::string name;
    Format format;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  void write_part(const fs::path& path, size_t first, size_t last, int part, int parts) const {
    GgufWriter writer(path);
    if (part == 0)
      for (const auto& [key, value] : keys_) write_key(writer, key, value);
    if (parts > 1) {
      writer.add("split.no", {GgufType::u16, uint64_t(part)});
      writer.add("split.count", {GgufType::u16, uint64_t(parts)});
      writer.add("split.tensors.count", {GgufType::i32, int64_t(tensors_.size())});
    }
    for (size_t i = first; i < last; ++i)
      writer.declare({.name = tensors_[i].name, .format = tensors_[i].format, .shape = tensors_[i].shape});
    for (size_t i = first; i < last; ++i) writer.write(as_bytes(tensors_[i].bytes));
    writer.commit();
  }

  static void write_key(GgufWriter& writer, const std::string& key, const Value& value) {
    if (const auto* n = std::get_if<int64_t>(&value))
      writer.add(key,
                 *n < 0 ? GgufValue{GgufType::i32, *n} : GgufValue{GgufType::u32, static_cast<uint64_t>(*n)});
    else if (const auto* d = std::get_if<double>(&value))
      writer.add(key, {GgufType::f32, *d});
    else if (const auto* b = std::get_if<bool>(&value))
      writer.add(key, {GgufType::boolean, *b});
    else if (const auto* s = std::get_if<std::string>(&value))
      writer.add(key, {GgufType::string, std::string_view(*s)});
    else
      writer.add(key, std::span<const int32_t>(std::get<std::vector<int32_t>>(value)));
  }

  std::map<std::string, Value> keys_;
  std::vector<Tensor> tensors_;
};

struct GgufShape {
  bool legacy_kv_b = false;            // attn_kv_b in one piece and keys of old deepseek2 files
  bool fused_gate_up = false;          // ffn_gate_up_exps
  const char* architecture = nullptr;  // another name than the usual one
};

class TestConverter {
 public:
  TestConverter(const fs::path& folder, GgufShape shape) : hf_(HfFolder::open(folder)), shape_(shape) {
    const std::string type = text("model_type");
    arch_ = type == "deepseek_v2" || type == "deepseek_v3" ? "deepseek2"
            : type == "deepseek_v32"                       ? "deepseek32"
            : type == "llama4_text"                        ? "llama4"
                                                           : type;
    if (shape.architecture) arch_ = shape.architecture;
  }

  TestGguf convert() {
    common_keys();
    tensor("model.embed_tokens.weight", "token_embd.weight");
    tensor("model.norm.weight", "output_norm.weight");
    if (has("lm_head.weight")) tensor("lm_head.weight", "output.weight");
    if (arch_.starts_with("deepseek"))
      deepseek_keys();
    else
      gqa_keys();
    const int64_t layers = integer("num_hidden_layers") + mtp();
    for (int64_t layer = 0; layer < layers; ++layer) convert_layer(layer);
    return std::move(out_);
  }

 private:
  // ---- config.json
  const Json* field(std::string_view name) const {
    const Json* v = hf_.config.find(name);
    return v && !v->is_null() ? v : nullptr;
  }
  int64_t integer(std::string_view name) const { return field(name)->as_int(); }
  double number(std::string_view name) const { return field(name)->as_double(); }
  std::string text(std::string_view name) const { return field(name)->as_string(); }
  int64_t mtp() const {
    return arch_ == "deepseek32" && field("num_nextn_predict_layers") ? integer("num_nextn_predict_layers")
                                                                      : 0;
  }
  void key(const char* name, TestGguf::Value value) { out_.set(arch_ + "." + name, std::move(value)); }

  void common_keys() {
    out_.set("general.architecture", arch_);
    key("vocab_size", integer("vocab_size"));
    key("embedding_length", integer("hidden_size"));
    key("block_count", integer("num_hidden_layers") + mtp());
    key("context_length", integer("max_position_embeddings"));
    key("attention.layer_norm_rms_epsilon", number("rms_norm_eps"));
    key("attention.head_count", integer("num_attention_heads"));
    key("rope.freq_base", number("rope_theta"));
    out_.set("tokenizer.ggml.bos_token_id", integer("bos_token_id"));
    out_.set("tokenizer.ggml.eos_token_id", integer("eos_token_id"));
  }

  int64_t head_dim() const {
    return field("head_dim") ? integer("head_dim") : integer("hidden_size") / integer("num_attention_heads");
  }

  void gqa_keys() {
    key("attention.head_count_kv", integer("num_key_value_heads"));
    key("attention.key_length", head_dim());
    key("attention.value_length", head_dim());
    key("rope.dimension_count", head_dim());
    if (arch_ != "llama4") {
      key("feed_forward_length", integer("intermediate_size"));
      if (arch_ == "llama" && field("rope_scaling")) rope_divisors();
      return;
    }
    key("feed_forward_length", integer("intermediate_size_mlp"));
    key("expert_feed_forward_length", integer("intermediate_size"));
    key("expert_count", integer("num_local_experts"));
    key("expert_used_count", integer("num_experts_per_tok"));
    key("interleave_moe_layer_step", integer("interleave_moe_layer_step"));
    key("attention.chunk_size", integer("attention_chunk_size"));
    key("attention.temperature_floor", number("floor_scale"));
    key("attention.temperature_scale", number("attn_scale"));
    std::vector<int32_t> rope;
    for (const Json& v : field("no_rope_layers")->as_array())
      rope.push_back(static_cast<int32_t>(v.as_int()));
    key("rope_layers", rope);
  }

  // MODEL.md 2.4.
  void rope_divisors() {
    const Json& r = *field("rope_scaling");
    const double factor = r.at("factor").as_double(), low = r.at("low_freq_factor").as_double(),
                 high = r.at("high_freq_factor").as_double(),
                 original = r.at("original_max_position_embeddings").as_double();
    std::vector<float> divisors;
    const int64_t d = head_dim();
    for (int64_t i = 0; i < d / 2; ++i) {
      const double f = std::pow(number("rope_theta"), -2.0 * static_cast<double>(i) / static_cast<double>(d));
      const double wave = 2 * std::numbers::pi / f;
      double scaled = f;
      if (wave > original / low) {
        scaled = f / factor;
      } else if (wave >= original / high) {
        const double s = (original / wave - low) / (high - low);
        scaled = (1 - s) * f / factor + s * f;
      }
      divisors.push_back(static_cast<float>(f / scaled));
    }
    out_.add("rope_freqs.weight", {d / 2}, divisors);
  }

  void deepseek_keys() {
    const int64_t nope = integer("qk_nope_head_dim"), rope = integer("qk_rope_head_dim"),
                  v = integer("v_head_dim"), lora = integer("kv_lora_rank");
    key("leading_dense_block_count", integer("first_k_dense_replace"));
    key("feed_forward_length", integer("intermediate_size"));
    key("expert_feed_forward_length", integer("moe_intermediate_size"));
    key("expert_count", integer("n_routed_experts"));
    key("expert_used_count", integer("num_experts_per_tok"));
    key("expert_shared_count", integer("n_shared_experts"));
    key("expert_group_count", integer("n_group"));
    key("expert_group_used_count", integer("topk_group"));
    if (text("scoring_func") == "sigmoid") key("expert_gating_func", int64_t{2});
    if (field("norm_topk_prob")->as_bool()) key("expert_weights_norm", true);
    key("expert_weights_scale", number("routed_scaling_factor"));
    if (field("q_lora_rank")) key("attention.q_lora_rank", integer("q_lora_rank"));
    key("attention.kv_lora_rank", lora);
    key("rope.dimension_count", rope);
    if (shape_.legacy_kv_b) {
      key("attention.head_count_kv", integer("num_attention_heads"));
      key("attention.key_length", nope + rope);
      key("attention.value_length", v);
    } else {
      key("attention.head_count_kv", int64_t{1});
      key("attention.key_length", lora + rope);
      key("attention.value_length", lora);
      key("attention.key_length_mla", nope + rope);
      key("attention.value_length_mla", v);
    }
    const Json& r = *field("rope_scaling");
    key("rope.scaling.type", std::string("yarn"));
    key("rope.scaling.factor", r.at("factor").as_double());
    key("rope.scaling.original_context_length", r.at("original_max_position_embeddings").as_int());
    key("rope.scaling.yarn_log_multiplier", 0.1 * r.at("mscale_all_dim").as_double());
    if (field("index_n_heads")) {
      key("attention.indexer.head_count", integer("index_n_heads"));
      key("attention.indexer.key_length", integer("index_head_dim"));
      key("attention.indexer.top_k", integer("index_topk"));
    }
    if (mtp() > 0) key("nextn_predict_layers", mtp());
  }

  // ---- tensors
  bool has(const std::string& name) const { return hf_.weights.tensor(name) != nullptr; }
  const TensorView& at(const std::string& name) const {
    const TensorView* t = hf_.weights.tensor(name);
    MINKE_CHECK(t, "{}", name);
    return *t;
  }

  // Values with FP8's block scales applied.
  std::vector<float> values(const std::string& name) const {
    const TensorView& t = at(name);
    std::vector<float> v = to_floats(t);
    if (t.format != Format::f8_e4m3) return v;
    const std::vector<float> scales = to_floats(at(name + "_scale_inv"));
    const int64_t cols = t.shape[1], across = (cols + 127) / 128;
    for (int64_t i = 0; i < t.count(); ++i)
      v[static_cast<size_t>(i)] *= scales[static_cast<size_t>(i / cols / 128 * across + i % cols / 128)];
    return v;
  }

  // As it lies, but vectors and what GGUF has no type for as F32.
  void tensor(const std::string& from, const std::string& to) {
    const TensorView& t = at(from);
    const bool f32 =
        t.shape.size() == 1 || t.format == Format::f8_e4m3 || to.ends_with("ffn_gate_inp.weight");
    if (f32)
      out_.add(to, t.shape, values(from));
    else
      out_.add(to, t.format, t.shape, std::string(as_text(t.bytes)));
  }

  void convert_layer(int64_t layer) {
    const std::string hf = fmt::format("model.layers.{}.", layer), gguf = fmt::format("blk.{}.", layer);
    static constexpr std::pair<const char*, const char*> kPlain[] = {
        {"input_layernorm.weight", "attn_norm.weight"},
        {"post_attention_layernorm.weight", "ffn_norm.weight"},
        {"self_attn.v_proj.weight", "attn_v.weight"},
        {"self_attn.v_proj.bias", "attn_v.bias"},
        {"self_attn.o_proj.weight", "attn_output.weight"},
        {"self_attn.q_a_proj.weight", "attn_q_a.weight"},
        {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
        {"self_attn.q_b_proj.weight", "attn_q_b.weight"},
        {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
        {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
        {"self_attn.indexer.wq_b.weight", "indexer.attn_q_b.weight"},
        {"self_attn.indexer.wk.weight", "indexer.attn_k.weight"},
        {"self_attn.indexer.k_norm.weight", "indexer.k_norm.weight"},
        {"self_attn.indexer.k_norm.bias", "indexer.k_norm.bias"},
        {"self_attn.indexer.weights_proj.weight", "indexer.proj.weight"},
        {"mlp.gate_proj.weight", "ffn_gate.weight"},
        {"mlp.up_proj.weight", "ffn_up.weight"},
        {"mlp.down_proj.weight", "ffn_down.weight"},
        {"mlp.gate.weight", "ffn_gate_inp.weight"},
        {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
        {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
        {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
        {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
        {"feed_forward.gate_proj.weight", "ffn_gate.weight"},
        {"feed_forward.up_proj.weight", "ffn_up.weight"},
        {"feed_forward.down_proj.weight", "ffn_down.weight"},
        {"feed_forward.router.weight", "ffn_gate_inp.weight"},
        {"feed_forward.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight"},
        {"feed_forward.shared_expert.up_proj.weight", "ffn_up_shexp.weight"},
        {"feed_forward.shared_expert.down_proj.weight", "ffn_down_shexp.weight"},
        {"eh_proj.weight", "nextn.eh_proj.weight"},
        {"enorm.weight", "nextn.enorm.weight"},
        {"hnorm.weight", "nextn.hnorm.weight"},
        {"embed_tokens.weight", "nextn.embed_tokens.weight"},
        {"shared_head.head.weight", "nextn.shared_head_head.weight"},
        {"shared_head.norm.weight", "nextn.shared_head_norm.weight"},
    };
    for (const auto& [from, to] : kPlain)
      if (has(hf + from)) tensor(hf + from, gguf + to);
    for (const char* what : {"weight", "bias"}) {
      query_or_key(fmt::format("{}self_attn.q_proj.{}", hf, what), fmt::format("{}attn_q.{}", gguf, what),
                   "num_attention_heads");
      query_or_key(fmt::format("{}self_attn.k_proj.{}", hf, what), fmt::format("{}attn_k.{}", gguf, what),
                   "num_key_value_heads");
    }
    if (has(hf + "self_attn.kv_b_proj.weight")) kv_b(hf + "self_attn.kv_b_proj.weight", gguf);
    if (has(hf + "mlp.experts.0.gate_proj.weight")) stack_experts(hf + "mlp.experts.", gguf);
    if (has(hf + "feed_forward.experts.gate_up_proj")) llama4_experts(hf + "feed_forward.experts.", gguf);
  }

  // Llama's rows change places: inside each head, HF row b * (hd / 2) + i becomes row 2 i + b.
  void query_or_key(const std::string& from, const std::string& to, const char* heads_field) {
    if (!has(from)) return;
    if (arch_ != "llama") return tensor(from, to);
    const std::vector<float> v = values(from);
    const int64_t heads = integer(heads_field), rows = at(from).shape[0], hd = rows / heads;
    const int64_t cols = static_cast<int64_t>(v.size()) / rows;
    std::vector<float> turned(v.size());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < hd / 2; ++i)
          std::copy_n(v.begin() + (h * hd + b * (hd / 2) + i) * cols, cols,
                      turned.begin() + (h * hd + 2 * i + b) * cols);
    out_.add(to, at(from).shape, turned);
  }

  void kv_b(const std::string& from, const std::string& gguf) {
    const std::vector<float> v = values(from);
    if (shape_.legacy_kv_b) return out_.add(gguf + "attn_kv_b.weight", at(from).shape, v);
    const int64_t heads = integer("num_attention_heads"), nope = integer("qk_nope_head_dim"),
                  width = integer("v_head_dim"), lora = integer("kv_lora_rank");
    std::vector<float> k_b, v_b;
    for (int64_t h = 0; h < heads; ++h) {
      const float* head = v.data() + h * (nope + width) * lora;
      for (int64_t c = 0; c < lora; ++c)
        for (int64_t r = 0; r < nope; ++r) k_b.push_back(head[r * lora + c]);
      v_b.insert(v_b.end(), head + nope * lora, head + (nope + width) * lora);
    }
    out_.add(gguf + "attn_k_b.weight", {heads, lora, nope}, k_b);
    out_.add(gguf + "attn_v_b.weight", {heads, width, lora}, v_b);
  }

  void stack_experts(const std::string& hf, const std::string& gguf) {
    const int64_t experts = integer("n_routed_experts"), inter = integer("moe_intermediate_size"),
                  dim = integer("hidden_size");
    std::vector<float> gate, up, down, fused;
    for (int64_t e = 0; e < experts; ++e) {
      const auto append = [&](std::vector<float>& to, const char* part) {
        const std::vector<float> v = values(fmt::format("{}{}.{}.weight", hf, e, part));
        to.insert(to.end(), v.begin(), v.end());
      };
      append(shape_.fused_gate_up ? fused : gate, "gate_proj");
      append(shape_.fused_gate_up ? fused : up, "up_proj");
      append(down, "down_proj");
    }
    if (shape_.fused_gate_up) {
      out_.add(gguf + "ffn_gate_up_exps.weight", {experts, 2 * inter, dim}, fused);
    } else {
      out_.add(gguf + "ffn_gate_exps.weight", {experts, inter, dim}, gate);
      out_.add(gguf + "ffn_up_exps.weight", {experts, inter, dim}, up);
    }
    out_.add(gguf + "ffn_down_exps.weight", {experts, dim, inter}, down);
  }

  // [E][dim][2 inter] and [E][inter][dim], used as x W, become rows of outputs.
  void llama4_experts(const std::string& hf, const std::string& gguf) {
    const std::vector<float> both = values(hf + "gate_up_proj"), down = values(hf + "down_proj");
    const int64_t experts = integer("num_local_experts"), inter = integer("intermediate_size"),
                  dim = integer("hidden_size");
    std::vector<float> gate, up, turned;
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t i = 0; i < inter; ++i)
        for (int64_t d = 0; d < dim; ++d) {
          gate.push_back(both[static_cast<size_t>((e * dim + d) * 2 * inter + i)]);
          up.push_back(both[static_cast<size_t>((e * dim + d) * 2 * inter + inter + i)]);
        }
      for (int64_t d = 0; d < dim; ++d)
        for (int64_t i = 0; i < inter; ++i)
          turned.push_back(down[static_cast<size_t>((e * inter + i) * dim + d)]);
    }
    out_.add(gguf + "ffn_gate_exps.weight", {experts, inter, dim}, gate);
    out_.add(gguf + "ffn_up_exps.weight", {experts, inter, dim}, up);
    out_.add(gguf + "ffn_down_exps.weight", {experts, dim, inter}, turned);
  }

  HfFolder hf_;
  GgufShape shape_;
  std::string arch_;
  TestGguf out_;
};

inline TestGguf golden_as_gguf(std::string_view name, GgufShape shape = {}) {
  return TestConverter(golden_folder(name), shape).convert();
}

}  // namespace minke
