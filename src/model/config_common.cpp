// What the configurations of all architectures say in the same words.

#include <cmath>

#include "base/error.h"
#include "model/architecture.h"

namespace minke {
namespace {

constexpr double kLeastTheta = 2;  // its logarithm is divided by; models have 10,000 and more

void read_token_ids(JsonFields& fields, Config& config) {
  if (const auto bos = fields.integer("bos_token_id", -1, kMaxVocab); bos && *bos >= 0) config.bos = *bos;
  const Json* eos = fields.value("eos_token_id");
  if (!eos) return;
  const auto add = [&](const Json& id) {
    if (!id.is_int()) fields.wrong("eos_token_id", fmt::format("{} is not an id", to_string(id)));
    if (id.as_int() >= 0 && id.as_int() < config.vocab)
      config.eos.push_back(static_cast<int32_t>(id.as_int()));
  };
  if (eos->is_array()) {
    for (const Json& id : eos->as_array()) add(id);
  } else {
    add(*eos);
  }
}

}  // namespace

void check_quantisation(JsonFields& fields) {
  const Json* json = fields.value("quantization_config");
  if (!json) return;
  JsonFields q = fields.inside("quantization_config", *json);
  const auto method = q.string("quant_method");
  if (method != "fp8")
    q.wrong("quant_method", fmt::format("'{}' is not supported, only 'fp8' is", method.value_or("(none)")));
  q.only("fmt", Json("e4m3"));
  q.only("weight_block_size", Json(JsonArray{Json(128), Json(128)}));
  q.only("activation_scheme", Json("dynamic"));
  q.ignore({"scale_fmt", "modules_to_not_convert", "ignored_layers"});
  q.finish();
}

namespace {

RopeScaling scaling_by_name(std::string_view name, bool& known) {
  known = true;
  if (name == "default" || name == "none") return RopeScaling::none;
  if (name == "linear") return RopeScaling::linear;
  if (name == "yarn") return RopeScaling::yarn;
  if (name == "llama3") return RopeScaling::llama3;
  known = false;
  return RopeScaling::none;
}

}  // namespace

void read_common(JsonFields& fields, Config& config) {
  config.vocab = fields.need("vocab_size", 1, kMaxVocab);
  config.dim = fields.need("hidden_size", 1, kMaxWidth);
  config.layers = fields.need("num_hidden_layers", 1, kMaxLayers);
  config.context = fields.need("max_position_embeddings", 1, kMaxContext);
  config.norm_eps = static_cast<float>(fields.need_number("rms_norm_eps", 0, 1));
  config.heads = fields.need("num_attention_heads", 1, kMaxHeads);
  config.tied = fields.boolean("tie_word_embeddings").value_or(false);
  fields.only("hidden_act", Json("silu"));
  read_token_ids(fields, config);
  check_quantisation(fields);
  fields.ignore({"architectures",
                 "model_type",
                 "torch_dtype",
                 "dtype",
                 "transformers_version",
                 "transformers.js_config",
                 "use_cache",
                 "attention_dropout",
                 "initializer_range",
                 "auto_map",
                 "pretraining_tp",
                 "pad_token_id",
                 "_name_or_path",
                 "output_router_logits",
                 "return_dict",
                 "output_hidden_states",
                 "output_attentions",
                 "is_encoder_decoder",
                 "id2label",
                 "label2id",
                 "chunk_size_feed_forward",
                 "problem_type",
                 "_attn_implementation_autoset",
                 "_attn_implementation"});
}

void read_common(GgufFields& fields, Config& config) {
  config.dim = fields.need("embedding_length", 1, kMaxWidth);
  config.layers = fields.need("block_count", 1, kMaxLayers);
  config.context = fields.need("context_length", 1, kMaxContext);
  config.norm_eps = static_cast<float>(fields.need_number("attention.layer_norm_rms_epsilon", 0, 1));
  config.heads = fields.need("attention.head_count", 1, kMaxHeads);
  const Gguf& gguf = fields.gguf();
  const TensorView* embed = gguf.tensor("token_embd.weight");
  if (!embed) throw Error("tensor 'token_embd.weight' is missing", gguf.path().string());
  config.vocab = fields.integer("vocab_size", 1, kMaxVocab)
                     .value_or(static_cast<int>(std::min<int64_t>(embed->shape.front(), kMaxVocab)));
  config.tied = !fields.has_tensor("output.weight");
  config.name = gguf.string("general.name").value_or("");
  const auto id = [&](const char* key) -> std::optional<int32_t> {
    const auto n = gguf.integer(key);
    return n && *n >= 0 && *n < config.vocab ? std::optional<int32_t>(static_cast<int32_t>(*n))
                                             : std::nullopt;
  };
  config.bos = id("tokenizer.ggml.bos_token_id");
  if (const auto eos = id("tokenizer.ggml.eos_token_id")) config.eos.push_back(*eos);
  if (const auto all = gguf.integers(kEosIdsKey)) {
    config.eos.clear();
    for (const int64_t n : *all)
      if (n >= 0 && n < config.vocab) config.eos.push_back(static_cast<int32_t>(n));
  }
}

void read_rope(JsonFields& outer, Config& config) {
  RopeConfig& rope = config.rope;
  const Json* both = outer.value("rope_parameters");
  const Json* scaling = outer.value("rope_scaling");
  rope.theta = outer.number("rope_theta", kLeastTheta, 1e12).value_or(10000.0);
  const Json* json = both ? both : scaling;
  if (!json) return;

  JsonFields fields = outer.inside(both ? "rope_parameters" : "rope_scaling", *json);
  if (const auto theta = fields.number("rope_theta", kLeastTheta, 1e12)) rope.theta = *theta;
  const auto type = fields.string("rope_type"), old_type = fields.string("type");
  bool known = false;
  const std::string name = type.value_or(old_type.value_or("default"));
  rope.scaling = scaling_by_name(name, known);
  if (!known)
    fields.wrong("rope_type",
                 fmt::format("'{}' is not supported: default, linear, yarn and llama3 are", name));
  fields.only("partial_rotary_factor", Json(1.0));
  fields.only("truncate", Json(true));
  rope.factor = rope.scaling == RopeScaling::none
                    ? 1.0
                    : fields.need_number("factor", kLeastRopeFactor, kMostRopeFactor);
  rope.original = fields.number("original_max_position_embeddings", 1, kMaxContext).value_or(config.context);
  rope.beta_fast = fields.number("beta_fast", kLeastTurns, kMostTurns).value_or(32);
  rope.beta_slow = fields.number("beta_slow", kLeastTurns, kMostTurns).value_or(1);
  rope.mscale = fields.number("mscale", 0, 100).value_or(1);
  rope.mscale_all_dim = fields.number("mscale_all_dim", 0, 100).value_or(0);
  rope.low_freq = fields.number("low_freq_factor", kLeastTurns, kMostTurns).value_or(1);
  rope.high_freq = fields.number("high_freq_factor", kLeastTurns, kMostTurns).value_or(4);
  rope.attention_factor = fields.number("attention_factor", 0, 100);
  fields.ignore({"factor"});
  fields.finish();
}

namespace {

// Our own key beside the divisors: what they were made of.
void use_llama3_key(const GgufFields& fields, RopeConfig& rope) {
  const auto values = fields.gguf().numbers(kLlama3RopeKey);
  if (!values || values->size() != 4) return;
  const auto value = [&](size_t i) { return decimal(static_cast<float>((*values)[i])); };
  RopeConfig named = rope;
  named.scaling = RopeScaling::llama3;
  named.factor = value(0);
  named.low_freq = value(1);
  named.high_freq = value(2);
  named.original = value(3);
  if (!is_sound_llama3(named) || !same_divisors(rope_divisors(named), rope.divisors)) return;
  named.divisors.clear();
  rope = named;
}

}  // namespace

void read_rope(GgufFields& fields, Config& config) {
  RopeConfig& rope = config.rope;
  rope.theta = fields.number("rope.freq_base", kLeastTheta, 1e12).value_or(10000.0);
  const std::string name = fields.string("rope.scaling.type").value_or("none");
  bool known = false;
  rope.scaling = scaling_by_name(name, known);
  if (!known || rope.scaling == RopeScaling::llama3)  // which is told by rope_freqs.weight here
    fields.wrong("rope.scaling.type", fmt::format("'{}' is not supported: none, linear and yarn are", name));
  rope.factor = fields.number("rope.scaling.factor", kLeastRopeFactor, kMostRopeFactor).value_or(1);
  if (const auto linear = fields.number("rope.scale_linear", kLeastRopeFactor, kMostRopeFactor);
      linear && *linear != 1) {
    rope.scaling = RopeScaling::linear;
    rope.factor = *linear;
  }
  if (const auto original = fields.number("rope.scaling.original_context_length", 1, kMaxContext))
    rope.original = *original;
  else if (rope.scaling != RopeScaling::none)
    rope.original = config.context;
  rope.beta_fast = fields.number("rope.scaling.yarn_beta_fast", kLeastTurns, kMostTurns).value_or(32);
  rope.beta_slow = fields.number("rope.scaling.yarn_beta_slow", kLeastTurns, kMostTurns).value_or(1);
  if (const auto m = fields.number("rope.scaling.yarn_log_multiplier", 0, 10))
    rope.mscale = rope.mscale_all_dim = decimal(static_cast<float>(*m), 1);  // a tenth of it is written
  rope.attention_factor = fields.number("rope.scaling.attn_factor", 0, 100);
  fields.ignore({"rope.scaling.finetuned"});

  const TensorView* divisors = fields.gguf().tensor("rope_freqs.weight");
  if (!divisors) return;
  if (divisors->dtype != DType::weights || divisors->format != Format::f32 ||
      divisors->count() != rope.dims / 2)
    throw Error(fmt::format("expected F32 [{}], found {}", rope.dims / 2, divisors->describe()),
                fields.gguf().path().string() + ": tensor 'rope_freqs.weight'");
  rope.scaling = RopeScaling::divisors;
  rope.divisors.resize(static_cast<size_t>(rope.dims / 2));
  std::memcpy(rope.divisors.data(), divisors->bytes.data(), divisors->bytes.size());
  for (const float d : rope.divisors)
    if (!(d > 0 && d < INFINITY))
      throw Error(fmt::format("{} is no divisor of a frequency", d),
                  fields.gguf().path().string() + ": tensor 'rope_freqs.weight'");
  use_llama3_key(fields, rope);
}

void set_attention_scale(Config& config, int width) {
  double scale = 1 / std::sqrt(static_cast<double>(width));
  if (config.mla && config.rope.scaling == RopeScaling::yarn) {
    const double m = yarn_mscale(config.rope.factor, config.rope.mscale_all_dim);
    scale *= m * m;
  }
  config.attention_scale = static_cast<float>(scale);
}

void read_gqa(JsonFields& fields, Config& config) {
  config.kv_heads = fields.integer("num_key_value_heads", 1, kMaxHeads).value_or(config.heads);
  const auto head_dim = fields.integer("head_dim", 2, kMaxHeadWidth);
  if (!head_dim && config.dim % config.heads != 0)
    fields.wrong(
        "num_attention_heads",
        fmt::format("{} do not divide hidden_size {}, and there is no head_dim", config.heads, config.dim));
  config.head_dim = head_dim.value_or(config.dim / config.heads);
  config.rope.dims = config.head_dim;
  read_rope(fields, config);
  set_attention_scale(config, config.head_dim);
}

void read_gqa(GgufFields& fields, Config& config) {
  config.kv_heads = fields.integer("attention.head_count_kv", 1, kMaxHeads).value_or(config.heads);
  const auto key = fields.integer("attention.key_length", 2, kMaxHeadWidth);
  if (!key && config.dim % config.heads != 0)
    fields.wrong("attention.head_count",
                 fmt::format("{} heads do not divide embedding_length {}, and there is "
                             "no attention.key_length",
                             config.heads, config.dim));
  config.head_dim = key.value_or(config.dim / config.heads);
  fields.only("attention.value_length", config.head_dim);
  fields.only("rope.dimension_count", config.head_dim);
  config.rope.dims = config.head_dim;
  read_rope(fields, config);
  set_attention_scale(config, config.head_dim);
}

}  // namespace minke
