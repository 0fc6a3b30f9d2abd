// DeepSeek V2, V3 and V3.2: latent attention, fine-grained experts, multi-token prediction, sparse attention
// (MODEL.md 1.1).

#include "base/error.h"
#include "model/architecture.h"

namespace minke {
namespace {

// Whether the files hold the MTP layers that the config announces; many are published without.
template <typename Has>
int mtp_layers_present(int announced, int first, const Has& has) {
  int n = 0;
  while (n < announced && has(first + n)) ++n;
  return n;
}

GroupScore group_score_of(RouterScore score) {
  return score == RouterScore::softmax ? GroupScore::max : GroupScore::top2_sum;
}

void read_router(JsonFields& fields, RouterConfig& r) {
  const std::string score = fields.string("scoring_func").value_or("softmax");
  if (score != "softmax" && score != "sigmoid")
    fields.wrong("scoring_func", fmt::format("'{}' is not supported: softmax and sigmoid are", score));
  r.score = score == "sigmoid" ? RouterScore::sigmoid : RouterScore::softmax;
  r.groups = fields.integer("n_group", 1, 1024).value_or(1);
  r.kept_groups = fields.integer("topk_group", 1, r.groups).value_or(1);
  const std::string method =
      fields.string("topk_method").value_or(r.score == RouterScore::sigmoid ? "noaux_tc" : "greedy");
  if (method == "group_limited_greedy")
    r.group_score = GroupScore::max;
  else if (method == "noaux_tc")
    r.group_score = GroupScore::top2_sum;
  else if (method != "greedy")
    fields.wrong("topk_method",
                 fmt::format("'{}' is not supported: greedy, group_limited_greedy and noaux_tc are", method));
  r.normalise = fields.boolean("norm_topk_prob").value_or(false);
  r.scale = static_cast<float>(fields.number("routed_scaling_factor", 0, 1e6).value_or(1));
}

void read_experts(JsonFields& fields, Config& c) {
  const auto experts = fields.integer("n_routed_experts", 1, kMaxExperts);
  if (!experts) {
    c.moe.reset();
    return;
  }
  MoeConfig moe;
  moe.router.experts = *experts;
  moe.router.active = fields.need("num_experts_per_tok", 1, *experts);
  moe.inter = fields.need("moe_intermediate_size", 1, kMaxWidth);
  moe.shared_inter = fields.integer("n_shared_experts", 0, 64).value_or(0) * moe.inter;
  moe.first = fields.integer("first_k_dense_replace", 0, c.layers).value_or(0);
  read_router(fields, moe.router);
  moe.router_bias = moe.router.group_score == GroupScore::top2_sum;
  c.moe = moe;
  fields.only("moe_layer_freq", Json(1));
}

void read_experts(GgufFields& fields, Config& c) {
  const auto experts = fields.integer("expert_count", 0, kMaxExperts);
  if (experts.value_or(0) == 0) {  // dense: keys of experts say nothing then
    fields.ignore({"expert_used_count", "expert_feed_forward_length", "expert_shared_count",
                   "expert_gating_func", "leading_dense_block_count", "expert_group_count",
                   "expert_group_used_count", "expert_weights_norm", "expert_weights_scale"});
    return;
  }
  MoeConfig moe;
  RouterConfig& r = moe.router;
  r.experts = *experts;
  r.active = fields.need("expert_used_count", 1, r.experts);
  moe.inter = fields.need("expert_feed_forward_length", 1, kMaxWidth);
  moe.shared_inter = fields.integer("expert_shared_count", 0, 64).value_or(0) * moe.inter;
  moe.first = fields.integer("leading_dense_block_count", 0, c.layers).value_or(0);
  const int gating = fields.integer("expert_gating_func", 0, 100).value_or(1);
  if (gating != 1 && gating != 2)
    fields.wrong("expert_gating_func",
                 fmt::format("{} is not supported: 1 (softmax) and 2 (sigmoid) are", gating));
  r.score = gating == 2 ? RouterScore::sigmoid : RouterScore::softmax;
  // Files made before groups had keys: the released models with these many experts have these groups.
  const int groups = r.experts == 256 || r.experts == 160 ? 8 : 1, kept = r.experts == 256   ? 4
                                                                          : r.experts == 160 ? 3
                                                                                             : 1;
  r.groups = fields.integer("expert_group_count", 1, 1024).value_or(groups);
  r.kept_groups = fields.integer("expert_group_used_count", 1, r.groups).value_or(std::min(kept, r.groups));
  r.group_score = r.groups > 1 ? group_score_of(r.score) : GroupScore::none;
  r.normalise = fields.boolean("expert_weights_norm").value_or(false);
  r.scale = static_cast<float>(fields.number("expert_weights_scale", 0, 1e6).value_or(1));
  moe.router_bias = fields.has_tensor(fmt::format("blk.{}.exp_probs_b.bias", moe.first));
  c.moe = moe;
}

// block_count counts the MTP layers where the file was made with them, whether it still holds them or not.
void read_mtp_layers(GgufFields& fields, Config& c) {
  c.mtp_announced = fields.integer("nextn_predict_layers", 0, std::min(64, c.layers - 1)).value_or(0);
  const auto has = [&](int layer, const char* name) {
    return fields.has_tensor(fmt::format("blk.{}.{}", layer, name));
  };
  const int first = c.layers - c.mtp_announced;
  if (has(first, "attn_norm.weight") && !has(first, "nextn.eh_proj.weight"))
    return;  // all are the model's own
  c.layers = first;
  c.mtp_layers = mtp_layers_present(c.mtp_announced, first,
                                    [&](int layer) { return has(layer, "nextn.eh_proj.weight"); });
}

}  // namespace

Config deepseek_from_hf(JsonFields& fields, const HasTensor& has) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("intermediate_size", 1, kMaxWidth);
  MlaConfig mla;
  mla.q_lora = fields.integer("q_lora_rank", 1, kMaxWidth).value_or(0);
  mla.kv_lora = fields.need("kv_lora_rank", 1, kMaxHeadWidth);
  mla.nope = fields.need("qk_nope_head_dim", 1, kMaxHeadWidth);
  mla.rope = fields.need("qk_rope_head_dim", 2, kMaxHeadWidth);
  mla.v = fields.need("v_head_dim", 1, kMaxHeadWidth);
  c.mla = mla;
  c.rope.dims = mla.rope;
  c.rope.half = false;
  read_rope(fields, c);
  set_attention_scale(c, mla.nope + mla.rope);
  read_experts(fields, c);
  if (const auto heads = fields.integer("index_n_heads", 1, kMaxHeads)) {
    c.indexer = IndexerConfig{*heads, fields.need("index_head_dim", 1, kMaxHeadWidth),
                              fields.need("index_topk", 1, kMaxContext)};
    if (mla.q_lora == 0) fields.wrong("q_lora_rank", "an indexer needs it");
    if (c.indexer->width < mla.rope)
      fields.wrong("index_head_dim",
                   fmt::format("{} is less than qk_rope_head_dim {}", c.indexer->width, mla.rope));
  }
  c.mtp_announced = fields.integer("num_nextn_predict_layers", 0, 64).value_or(0);
  c.mtp_layers = mtp_layers_present(c.mtp_announced, c.layers, [&](int layer) {
    return has(fmt::format("model.layers.{}.eh_proj.weight", layer));
  });
  fields.only("attention_bias", Json(false));
  fields.only("rope_interleave", Json(true));
  fields.ignore({"num_key_value_heads", "head_dim", "qk_head_dim", "aux_loss_alpha", "seq_aux", "ep_size",
                 "moe_layer_freq", "first_k_dense_replace", "mlp_bias", "index_topk", "index_head_dim"});
  return c;
}

Config deepseek_from_gguf(GgufFields& fields) {
  Config c;
  read_common(fields, c);
  read_mtp_layers(fields, c);
  if (!fields.has_tensor("blk.0.attn_norm.weight"))
    throw Error("tensor 'blk.0.attn_norm.weight' is missing", fields.gguf().path().string(),
                "a file that holds only the multi-token-prediction layers cannot run by itself");
  c.inter = fields.need("feed_forward_length", 1, kMaxWidth);
  MlaConfig mla;
  mla.q_lora = fields.integer("attention.q_lora_rank", 1, kMaxWidth).value_or(0);
  mla.kv_lora = fields.need("attention.kv_lora_rank", 1, kMaxHeadWidth);
  mla.rope = fields.need("rope.dimension_count", 2, kMaxHeadWidth);
  // Files from before MLA was split keep a head's own widths under the plain names.
  const auto key_mla = fields.integer("attention.key_length_mla", 1, kMaxHeadWidth);
  const auto value_mla = fields.integer("attention.value_length_mla", 1, kMaxHeadWidth);
  const int key = fields.need("attention.key_length", 1, 2 * kMaxHeadWidth);
  const int value = fields.need("attention.value_length", 1, 2 * kMaxHeadWidth);
  mla.nope = key_mla.value_or(key) - mla.rope;
  if (mla.nope < 1)
    fields.wrong(key_mla ? "attention.key_length_mla" : "attention.key_length",
                 fmt::format("{} leaves nothing beside {} of rope", key_mla.value_or(key), mla.rope));
  mla.v = value_mla.value_or(value);
  if (mla.nope > kMaxHeadWidth || mla.v > kMaxHeadWidth)
    fields.wrong(mla.v > kMaxHeadWidth ? "attention.value_length" : "attention.key_length",
                 fmt::format("heads of {} and {} are too wide", key_mla.value_or(key), mla.v));
  c.mla = mla;
  c.rope.dims = mla.rope;
  c.rope.half = false;
  read_rope(fields, c);
  set_attention_scale(c, mla.nope + mla.rope);

  read_experts(fields, c);
  if (const auto heads = fields.integer("attention.indexer.head_count", 1, kMaxHeads)) {
    c.indexer = IndexerConfig{*heads, fields.need("attention.indexer.key_length", mla.rope, kMaxHeadWidth),
                              fields.need("attention.indexer.top_k", 1, kMaxContext)};
    if (mla.q_lora == 0) fields.wrong("attention.q_lora_rank", "an indexer needs it");
  }
  fields.ignore({"attention.head_count_kv", "nextn_predict_layers"});
  fields.only("moe_every_n_layers", 1);
  return c;
}

namespace {

const char* topk_method(const MoeConfig& m) {
  if (m.router_bias) return "noaux_tc";
  return m.router.group_score == GroupScore::max ? "group_limited_greedy" : "greedy";
}

void write_experts(const Config& c, Json& json) {
  const MoeConfig& m = *c.moe;
  const RouterConfig& r = m.router;
  if (r.group_score == GroupScore::top2_sum && !m.router_bias)
    cannot_say(c, "groups of experts are chosen by their two best, but experts have no bias");
  if (r.group_score == GroupScore::max && m.router_bias)
    cannot_say(c, "groups of experts are chosen by their best one, and experts have a bias");
  json.set("n_routed_experts", r.experts);
  json.set("num_experts_per_tok", r.active);
  json.set("n_shared_experts", m.shared_inter > 0 ? Json(m.shared_inter / m.inter) : Json());
  json.set("moe_intermediate_size", m.inter);
  json.set("first_k_dense_replace", m.first);
  json.set("moe_layer_freq", 1);
  json.set("scoring_func", r.score == RouterScore::sigmoid ? "sigmoid" : "softmax");
  json.set("topk_method", topk_method(m));
  json.set("n_group", r.groups);
  json.set("topk_group", r.kept_groups);
  json.set("norm_topk_prob", r.normalise);
  json.set("routed_scaling_factor", decimal(r.scale));
}

void write_experts(const Config& c, GgufKeys& keys) {
  const MoeConfig& m = *c.moe;
  const RouterConfig& r = m.router;
  const bool grouped = r.group_score != GroupScore::none;
  keys.count("expert_count", r.experts);
  keys.count("expert_used_count", r.active);
  keys.count("expert_shared_count", m.shared_inter / m.inter);
  keys.count("expert_feed_forward_length", m.inter);
  keys.count("expert_group_count", grouped ? r.groups : 1);
  keys.count("expert_group_used_count", grouped ? r.kept_groups : 1);
  keys.count("expert_gating_func", r.score == RouterScore::sigmoid ? 2 : 1);
  keys.number("expert_weights_scale", r.scale);
  if (r.normalise) keys.flag("expert_weights_norm", true);
}

}  // namespace

void deepseek_to_hf(const Config& c, Json& json) {
  const MlaConfig& m = *c.mla;
  json.set("intermediate_size", c.inter);
  json.set("num_key_value_heads", c.heads);
  json.set("q_lora_rank", m.q_lora > 0 ? Json(m.q_lora) : Json());
  json.set("kv_lora_rank", m.kv_lora);
  json.set("qk_nope_head_dim", m.nope);
  json.set("qk_rope_head_dim", m.rope);
  json.set("v_head_dim", m.v);
  json.set("attention_bias", false);
  write_rope(c, json);
  if (c.moe) write_experts(c, json);
  if (c.indexer) {
    json.set("index_n_heads", c.indexer->heads);
    json.set("index_head_dim", c.indexer->width);
    json.set("index_topk", c.indexer->topk);
  }
  if (c.arch != "deepseek_v2" || c.mtp_layers > 0) json.set("num_nextn_predict_layers", c.mtp_layers);
}

void deepseek_to_gguf(const Config& c, GgufKeys& keys) {
  const MlaConfig& m = *c.mla;
  keys.count("feed_forward_length", c.inter);
  keys.count("attention.head_count_kv", 1);  // all heads share the latent
  if (m.q_lora > 0) keys.count("attention.q_lora_rank", m.q_lora);
  keys.count("attention.kv_lora_rank", m.kv_lora);
  keys.count("attention.key_length", m.kv_lora + m.rope);
  keys.count("attention.value_length", m.kv_lora);
  keys.count("attention.key_length_mla", m.nope + m.rope);
  keys.count("attention.value_length_mla", m.v);
  keys.count("rope.dimension_count", m.rope);
  write_rope(c, keys);
  keys.count("leading_dense_block_count", c.moe ? c.moe->first : c.layers);
  if (c.moe) write_experts(c, keys);
  if (c.indexer) {
    keys.count("attention.indexer.head_count", c.indexer->heads);
    keys.count("attention.indexer.key_length", c.indexer->width);
    keys.count("attention.indexer.top_k", c.indexer->topk);
  }
  if (c.mtp_layers > 0) keys.count("nextn_predict_layers", c.mtp_layers);
}

}  // namespace minke
