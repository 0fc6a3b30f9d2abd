#include "model/roles.h"

#include <algorithm>

#include <fmt/format.h>

namespace minke {
namespace {

struct RoleRow {
  Role role;
  const char* name;
  const char* hf;    // after "model.layers.N.", or whole; {} is the expert
  const char* gguf;  // after "blk.N.", or whole
};

constexpr RoleRow kRoles[] = {
    {Role::embed, "embed", "model.embed_tokens.weight", "token_embd.weight"},
    {Role::output_norm, "output_norm", "model.norm.weight", "output_norm.weight"},
    {Role::head, "head", "lm_head.weight", "output.weight"},
    {Role::attn_norm, "attn_norm", "input_layernorm.weight", "attn_norm.weight"},
    {Role::wq, "wq", "self_attn.q_proj.weight", "attn_q.weight"},
    {Role::wk, "wk", "self_attn.k_proj.weight", "attn_k.weight"},
    {Role::wv, "wv", "self_attn.v_proj.weight", "attn_v.weight"},
    {Role::wo, "wo", "self_attn.o_proj.weight", "attn_output.weight"},
    {Role::bq, "bq", "self_attn.q_proj.bias", "attn_q.bias"},
    {Role::bk, "bk", "self_attn.k_proj.bias", "attn_k.bias"},
    {Role::bv, "bv", "self_attn.v_proj.bias", "attn_v.bias"},
    {Role::bo, "bo", "self_attn.o_proj.bias", "attn_output.bias"},
    {Role::wq_a, "wq_a", "self_attn.q_a_proj.weight", "attn_q_a.weight"},
    {Role::q_a_norm, "q_a_norm", "self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
    {Role::wq_b, "wq_b", "self_attn.q_b_proj.weight", "attn_q_b.weight"},
    {Role::wkv_a, "wkv_a", "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
    {Role::kv_a_norm, "kv_a_norm", "self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
    {Role::k_b, "k_b", "self_attn.kv_b_proj.weight", "attn_k_b.weight"},
    {Role::v_b, "v_b", "self_attn.kv_b_proj.weight", "attn_v_b.weight"},
    {Role::index_q, "index_q", "self_attn.indexer.wq_b.weight", "indexer.attn_q_b.weight"},
    {Role::index_k, "index_k", "self_attn.indexer.wk.weight", "indexer.attn_k.weight"},
    {Role::index_k_norm, "index_k_norm", "self_attn.indexer.k_norm.weight", "indexer.k_norm.weight"},
    {Role::index_k_bias, "index_k_bias", "self_attn.indexer.k_norm.bias", "indexer.k_norm.bias"},
    {Role::index_weights, "index_weights", "self_attn.indexer.weights_proj.weight", "indexer.proj.weight"},
    {Role::ffn_norm, "ffn_norm", "post_attention_layernorm.weight", "ffn_norm.weight"},
    {Role::gate, "gate", "mlp.gate_proj.weight", "ffn_gate.weight"},
    {Role::up, "up", "mlp.up_proj.weight", "ffn_up.weight"},
    {Role::down, "down", "mlp.down_proj.weight", "ffn_down.weight"},
    {Role::router, "router", "mlp.gate.weight", "ffn_gate_inp.weight"},
    {Role::router_bias, "router_bias", "mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {Role::shared_gate, "shared_gate", "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
    {Role::shared_up, "shared_up", "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
    {Role::shared_down, "shared_down", "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
    {Role::expert_gate, "expert_gate", "mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight"},
    {Role::expert_up, "expert_up", "mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight"},
    {Role::expert_down, "expert_down", "mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight"},
    {Role::mtp_proj, "mtp_proj", "eh_proj.weight", "nextn.eh_proj.weight"},
    {Role::mtp_embed_norm, "mtp_embed_norm", "enorm.weight", "nextn.enorm.weight"},
    {Role::mtp_hidden_norm, "mtp_hidden_norm", "hnorm.weight", "nextn.hnorm.weight"},
    {Role::mtp_norm, "mtp_norm", "shared_head.norm.weight", "nextn.shared_head_norm.weight"},
};

const RoleRow& row_of(Role role) {
  return *std::find_if(std::begin(kRoles), std::end(kRoles),
                       [&](const RoleRow& r) { return r.role == role; });
}

// Llama 4's own words for its FFN (after "model.layers.N.").
const char* llama4_name(Role role) {
  switch (role) {
    case Role::gate: return "feed_forward.gate_proj.weight";
    case Role::up: return "feed_forward.up_proj.weight";
    case Role::down: return "feed_forward.down_proj.weight";
    case Role::router: return "feed_forward.router.weight";
    case Role::shared_gate: return "feed_forward.shared_expert.gate_proj.weight";
    case Role::shared_up: return "feed_forward.shared_expert.up_proj.weight";
    case Role::shared_down: return "feed_forward.shared_expert.down_proj.weight";
    case Role::expert_gate:
    case Role::expert_up: return "feed_forward.experts.gate_up_proj";
    case Role::expert_down: return "feed_forward.experts.down_proj";
    default: return nullptr;
  }
}

std::vector<Source> hugging_face_sources(const Config& config, const WeightSlot& slot) {
  const RoleRow& row = row_of(slot.role);
  std::string name = row.hf;
  Transform transform = Transform::as_is;
  if (slot.role == Role::k_b) transform = Transform::kv_b_keys;
  if (slot.role == Role::v_b) transform = Transform::kv_b_values;
  if (const char* own = config.arch == "llama4" ? llama4_name(slot.role) : nullptr) {
    name = own;
    if (slot.role == Role::expert_gate) transform = Transform::gate_half;
    if (slot.role == Role::expert_up) transform = Transform::up_half;
    if (slot.role == Role::expert_down) transform = Transform::expert_transposed;
  } else if (slot.expert >= 0) {
    name = fmt::format(fmt::runtime(row.hf), slot.expert);
  }
  if (slot.layer >= 0) name = fmt::format("model.layers.{}.{}", slot.layer, name);
  std::vector<Source> sources = {{name, transform}};
  if (config.arch == "llama4") sources.push_back({"language_model." + name, transform});
  return sources;
}

std::vector<Source> gguf_sources(const WeightSlot& slot) {
  const auto in_layer = [&](const char* name) { return fmt::format("blk.{}.{}", slot.layer, name); };
  const RoleRow& row = row_of(slot.role);
  if (slot.layer < 0) return {{row.gguf, Transform::as_is}};
  switch (slot.role) {
    case Role::k_b:
      return {{in_layer(row.gguf), Transform::head_stack},
              {in_layer("attn_kv_b.weight"), Transform::kv_b_keys}};
    case Role::v_b:
      return {{in_layer(row.gguf), Transform::head_stack},
              {in_layer("attn_kv_b.weight"), Transform::kv_b_values}};
    case Role::expert_gate:
      return {{in_layer(row.gguf), Transform::expert_slice},
              {in_layer("ffn_gate_up_exps.weight"), Transform::gate_rows}};
    case Role::expert_up:
      return {{in_layer(row.gguf), Transform::expert_slice},
              {in_layer("ffn_gate_up_exps.weight"), Transform::up_rows}};
    case Role::expert_down: return {{in_layer(row.gguf), Transform::expert_slice}};
    case Role::mtp_norm:  // optional: the model's own serves then
      return {{in_layer(row.gguf), Transform::as_is}, {"output_norm.weight", Transform::as_is}};
    default: return {{in_layer(row.gguf), Transform::as_is}};
  }
}

}  // namespace

const char* name(Role role) { return row_of(role).name; }

std::vector<Source> sources_of(const Config& config, const WeightSlot& slot, Container container) {
  return container == Container::gguf ? gguf_sources(slot) : hugging_face_sources(config, slot);
}

std::vector<std::string> copies_of(const Config& config, const WeightSlot& slot, Container container) {
  std::vector<std::string> names;
  const char* name = slot.role == Role::embed  ? "embed_tokens.weight"
                     : slot.role == Role::head ? "shared_head.head.weight"
                                               : nullptr;
  if (container == Container::hugging_face && name)
    for (int layer = config.layers; layer < config.layers + config.mtp_layers; ++layer)
      names.push_back(fmt::format("model.layers.{}.{}", layer, name));
  return names;
}

bool rope_half_in(const Config& config, Container container) {
  return config.arch == "llama" ? container == Container::hugging_face : config.rope.half;
}

bool has_rope_rows(Role role) {
  return role == Role::wq || role == Role::wk || role == Role::bq || role == Role::bk;
}

int64_t turned_row(int64_t r, int64_t dims, bool half) {
  const int64_t first = r / dims * dims, i = r % dims;
  return first + (half ? i % (dims / 2) * 2 + i / (dims / 2) : i % 2 * (dims / 2) + i / 2);
}

bool is_known_extra(const Config& config, std::string_view tensor, Container container) {
  const auto ends = [&](std::string_view s) { return tensor.ends_with(s); };
  const auto layer_of = [&](std::string_view prefix) {
    if (!tensor.starts_with(prefix)) return -1;
    int n = 0;
    for (const char c : tensor.substr(prefix.size())) {
      if (c < '0' || c > '9') break;
      n = n * 10 + (c - '0');
      if (n > 1 << 20) return -1;
    }
    return n;
  };
  const auto absent = [&](int layer) {  // of an MTP layer that is not run
    return layer >= config.layers + config.mtp_layers && layer < config.layers + config.mtp_announced;
  };
  if (container == Container::gguf) {
    return tensor == "rope_freqs.weight" || ends(".attn_rot_embd.weight") ||
           ends("nextn.embed_tokens.weight") || ends("nextn.shared_head_head.weight") ||
           (config.mla && ends(".attn_kv_b.weight")) || absent(layer_of("blk."));
  }
  if (ends("rotary_emb.inv_freq")) return true;
  if (config.tied && tensor == "lm_head.weight") return true;
  const int layer = layer_of("model.layers.");
  if (absent(layer)) return true;
  if (layer >= config.layers && layer < config.layers + config.mtp_layers &&
      (ends("embed_tokens.weight") || ends("shared_head.head.weight")))
    return true;
  return config.arch == "llama4" &&
         (tensor.starts_with("vision_model.") || tensor.starts_with("multi_modal_projector."));
}

}  // namespace minke
