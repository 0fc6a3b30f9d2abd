// Llama and Qwen2: grouped-query attention, gated MLP (MODEL.md 1.3, 2.10).

#include "model/architecture.h"

namespace minke {

Config llama_from_hf(JsonFields& fields, const HasTensor&) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("intermediate_size", 1, kMaxWidth);
  c.rope.half = true;
  read_gqa(fields, c);
  c.qkv_bias = c.o_bias = fields.boolean("attention_bias").value_or(false);
  fields.only("mlp_bias", Json(false));
  fields.only("rope_interleaved", Json(false));  // of SmolLM's folders, as the next
  fields.ignore({"is_llama_config"});
  return c;
}

Config llama_from_gguf(GgufFields& fields) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("feed_forward_length", 1, kMaxWidth);
  c.rope.half = false;  // converters put the rows of each pair side by side
  read_gqa(fields, c);
  c.qkv_bias = fields.has_tensor("blk.0.attn_q.bias");
  c.o_bias = fields.has_tensor("blk.0.attn_output.bias");
  fields.only("expert_count", 0);
  fields.only("expert_used_count", 0);
  return c;
}

Config qwen2_from_hf(JsonFields& fields, const HasTensor&) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("intermediate_size", 1, kMaxWidth);
  c.rope.half = true;
  read_gqa(fields, c);
  c.qkv_bias = true;
  fields.only("use_sliding_window", Json(false));
  fields.ignore({"sliding_window", "max_window_layers", "layer_types", "use_mrope"});
  return c;
}

Config qwen2_from_gguf(GgufFields& fields) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("feed_forward_length", 1, kMaxWidth);
  c.rope.half = true;
  read_gqa(fields, c);
  c.qkv_bias = true;
  fields.only("attention.sliding_window", 0);
  return c;
}

void llama_to_hf(const Config& c, Json& json) {
  if (c.qkv_bias != c.o_bias)
    cannot_say(c, "it has biases on queries, keys and values, but not on the output");
  json.set("intermediate_size", c.inter);
  write_gqa(c, json);
  json.set("attention_bias", c.qkv_bias);
  json.set("mlp_bias", false);
}

void llama_to_gguf(const Config& c, GgufKeys& keys) {  // biases are told by their tensors
  keys.count("feed_forward_length", c.inter);
  write_gqa(c, keys);
}

void qwen2_to_hf(const Config& c, Json& json) {
  json.set("intermediate_size", c.inter);
  write_gqa(c, json);
  json.set("use_sliding_window", false);
}

void qwen2_to_gguf(const Config& c, GgufKeys& keys) {
  keys.count("feed_forward_length", c.inter);
  write_gqa(c, keys);
}

}  // namespace minke
