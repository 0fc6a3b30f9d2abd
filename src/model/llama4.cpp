// Llama 4, the text model: chunked attention, layers without rotation, one expert a token
// (MODEL.md 1.3, 2.11).

#include <cmath>

#include "base/error.h"
#include "model/architecture.h"

namespace minke {
namespace {

constexpr int kNopeInterval = 4, kChunk = 8192;  // of the released models, and of other engines' code
constexpr int kWithoutQkNorm = 128;              // experts of Maverick
constexpr float kTemperatureFloor = 8192, kTemperatureScale = 0.1f;

void set_experts(Config& c, int experts, int active, int inter, int step) {
  MoeConfig moe;
  moe.router.experts = experts;
  moe.router.active = active;
  moe.router.score = RouterScore::sigmoid;
  moe.inter = moe.shared_inter = inter;
  moe.step = step;
  moe.scale_input = true;
  c.moe = moe;
}

std::vector<uint8_t> every_but(int layers, int interval) {
  std::vector<uint8_t> rope(static_cast<size_t>(layers));
  for (int i = 0; i < layers; ++i) rope[static_cast<size_t>(i)] = (i + 1) % interval != 0;
  return rope;
}

// no_rope_layers says for every layer whether it rotates (1) or not; without it every interval-th does not.
void read_rope_layers(JsonFields& fields, Config& c) {
  const auto interval = fields.integer("no_rope_layer_interval", 1, kMaxLayers + 1);
  c.rope_layers = every_but(c.layers, interval.value_or(kNopeInterval));
  if (const Json* list = fields.value("no_rope_layers")) {
    if (!list->is_array())
      fields.wrong("no_rope_layers", fmt::format("expected an array, found {}", list->type_name()));
    if (list->as_array().empty()) return;  // as published with some models: the interval holds
    if (list->as_array().size() != static_cast<size_t>(c.layers))
      fields.wrong("no_rope_layers",
                   fmt::format("{} entries for {} layers", list->as_array().size(), c.layers));
    for (size_t i = 0; i < c.rope_layers.size(); ++i) {
      const Json& entry = list->as_array()[i];
      if (!entry.is_int() || entry.as_int() < 0 || entry.as_int() > 1)
        fields.wrong("no_rope_layers", fmt::format("entry {} is {}, not 0 or 1", i, to_string(entry)));
      c.rope_layers[i] = entry.as_int() == 1;
    }
  }
}

Config from_text_config(JsonFields& fields) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("intermediate_size_mlp", 1, kMaxWidth);
  c.rope.half = false;
  read_gqa(fields, c);
  c.qkv_bias = c.o_bias = fields.boolean("attention_bias").value_or(false);
  const int experts = fields.need("num_local_experts", 1, kMaxExperts);
  const int active = fields.integer("num_experts_per_tok", 1, experts).value_or(1);
  const int step = fields.integer("interleave_moe_layer_step", 1, kMaxLayers).value_or(1);
  set_experts(c, experts, active, fields.need("intermediate_size", 1, kMaxWidth), step);

  read_rope_layers(fields, c);
  c.chunk = fields.integer("attention_chunk_size", 1, kMaxContext).value_or(0);
  c.qk_norm = fields.boolean("use_qk_norm").value_or(true);
  if (fields.boolean("attn_temperature_tuning").value_or(true)) {
    c.temperature_floor =
        static_cast<float>(fields.number("floor_scale", 1, 1e9).value_or(kTemperatureFloor));
    c.temperature_scale = static_cast<float>(fields.number("attn_scale", 0, 100).value_or(kTemperatureScale));
  } else {
    fields.ignore({"floor_scale", "attn_scale"});
  }
  fields.only("for_llm_compressor", Json(false));
  fields.ignore({"cache_implementation", "router_aux_loss_coef", "router_jitter_noise", "moe_layers",
                 "layer_types", "attn_temperature_tuning"});
  return c;
}

}  // namespace

Config llama4_from_hf(JsonFields& fields, const HasTensor&) {
  const Json* text = fields.value("text_config");  // the released multimodal files keep the text model here
  if (!text) return from_text_config(fields);
  JsonFields inner = fields.inside("text_config", *text);
  Config c = from_text_config(inner);
  inner.finish();
  check_quantisation(fields);
  fields.ignore({"architectures", "model_type", "torch_dtype", "dtype", "transformers_version",
                 "vision_config", "boi_token_index", "eoi_token_index", "image_token_index",
                 "tie_word_embeddings", "initializer_range"});
  return c;
}

Config llama4_from_gguf(GgufFields& fields) {
  Config c;
  read_common(fields, c);
  c.inter = fields.need("feed_forward_length", 1, kMaxWidth);
  c.rope.half = false;
  read_gqa(fields, c);
  const int experts = fields.need("expert_count", 1, kMaxExperts);
  const int active = fields.integer("expert_used_count", 1, experts).value_or(1);
  const int step = fields.integer("interleave_moe_layer_step", 1, kMaxLayers).value_or(1);
  set_experts(c, experts, active, fields.need("expert_feed_forward_length", 1, kMaxWidth), step);
  fields.only("expert_gating_func", 2);
  fields.only("expert_shared_count", 1);

  const int window = fields.integer("attention.sliding_window", 0, kMaxContext).value_or(kChunk);
  c.chunk = fields.integer("attention.chunk_size", 0, kMaxContext).value_or(window);
  c.rope_layers = every_but(c.layers, c.chunk > 0 ? kNopeInterval : kMaxLayers + 1);
  if (const auto list = fields.integers("rope_layers")) {
    if (list->size() != static_cast<size_t>(c.layers))
      fields.wrong("rope_layers", fmt::format("{} entries for {} layers", list->size(), c.layers));
    for (size_t i = 0; i < list->size(); ++i) c.rope_layers[i] = (*list)[i] != 0;
  }
  // Nothing else in the file says so: Maverick has none.
  c.qk_norm = fields.boolean("attention.qk_norm").value_or(experts != kWithoutQkNorm);
  c.temperature_floor =
      static_cast<float>(fields.number("attention.temperature_floor", 1, 1e9).value_or(kTemperatureFloor));
  c.temperature_scale =
      static_cast<float>(fields.number("attention.temperature_scale", 0, 100).value_or(kTemperatureScale));
  if (c.temperature_scale == 0) c.temperature_floor = 0;  // none
  return c;
}

void llama4_to_hf(const Config& c, Json& json) {
  json.set("intermediate_size", c.moe->inter);
  json.set("intermediate_size_mlp", c.inter);
  write_gqa(c, json);
  json.set("attention_bias", c.qkv_bias);
  json.set("num_local_experts", c.moe->router.experts);
  json.set("num_experts_per_tok", c.moe->router.active);
  json.set("interleave_moe_layer_step", c.moe->step);
  json.set("no_rope_layers", JsonArray(c.rope_layers.begin(), c.rope_layers.end()));
  json.set("attention_chunk_size", c.chunk > 0 ? Json(c.chunk) : Json());
  json.set("use_qk_norm", c.qk_norm);
  json.set("attn_temperature_tuning", c.temperature_scale > 0);
  if (c.temperature_scale <= 0) return;
  const double floor = decimal(c.temperature_floor);  // an integer, other programs insist
  json.set("floor_scale", floor == std::floor(floor) ? Json(static_cast<int64_t>(floor)) : Json(floor));
  json.set("attn_scale", decimal(c.temperature_scale));
}

// Other programs know the released models' values by heart; keys say what differs from them.
void llama4_to_gguf(const Config& c, GgufKeys& keys) {
  if (c.qkv_bias || c.o_bias) cannot_say(c, "its attention has biases");
  keys.count("feed_forward_length", c.inter);
  write_gqa(c, keys);
  keys.count("expert_count", c.moe->router.experts);
  keys.count("expert_used_count", c.moe->router.active);
  keys.count("expert_feed_forward_length", c.moe->inter);
  keys.count("interleave_moe_layer_step", c.moe->step);
  if (c.chunk == 0) keys.count("attention.sliding_window", 0);
  if (c.chunk != 0 && c.chunk != kChunk) keys.count("attention.chunk_size", c.chunk);
  if (c.rope_layers != every_but(c.layers, c.chunk > 0 ? kNopeInterval : kMaxLayers + 1)) {
    const std::vector<int32_t> layers(c.rope_layers.begin(), c.rope_layers.end());
    keys.integers("rope_layers", layers);
  }
  if (c.qk_norm != (c.moe->router.experts != kWithoutQkNorm)) keys.flag("attention.qk_norm", c.qk_norm);
  if (c.temperature_scale != kTemperatureScale)
    keys.number("attention.temperature_scale", c.temperature_scale);
  if (c.temperature_scale > 0 && c.temperature_floor != kTemperatureFloor)
    keys.number("attention.temperature_floor", c.temperature_floor);
}

}  // namespace minke
