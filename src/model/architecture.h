#pragma once
// The architectures: one registry row each, their files' vocabulary in one source file each.

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "model/config.h"
#include "model/fields.h"

namespace minke {

using HasTensor = std::function<bool(std::string_view)>;

struct Architecture {
  const char* name;
  std::string_view hf_class;       // config.json: architectures[0]
  std::string_view hf_model_type;  // config.json: model_type
  std::string_view gguf;           // general.architecture; several rows may share one
  Config (*from_hf)(JsonFields& fields, const HasTensor& has);
  Config (*from_gguf)(GgufFields& fields);
};

std::span<const Architecture> architectures();

// The validated config of a Hugging Face folder's config.json, or of a GGUF file. `allowed`: unknown fields
// to pass over. Throws Error naming file and field; an unknown architecture lists the known ones.
Config config_from_json(const Json& json, const std::string& where, const HasTensor& has,
                        const std::set<std::string>& allowed);
Config config_from_gguf(const Gguf& gguf, const std::set<std::string>& allowed);

// Rows of the registry, for architecture.cpp.
Config llama_from_hf(JsonFields& fields, const HasTensor& has);
Config llama_from_gguf(GgufFields& fields);
Config qwen2_from_hf(JsonFields& fields, const HasTensor& has);
Config qwen2_from_gguf(GgufFields& fields);
Config llama4_from_hf(JsonFields& fields, const HasTensor& has);
Config llama4_from_gguf(GgufFields& fields);
Config deepseek_from_hf(JsonFields& fields, const HasTensor& has);
Config deepseek_from_gguf(GgufFields& fields);

// What all architectures' files say in the same words (config_common.cpp).
constexpr int kMaxLayers = 4096, kMaxWidth = 1 << 20, kMaxHeads = 4096, kMaxHeadWidth = 1 << 16,
              kMaxExperts = 4096;
constexpr int kMaxVocab = 1 << 24, kMaxContext = 1 << 28;

void read_common(JsonFields& fields, Config& config);
void check_quantisation(JsonFields& fields);  // quantization_config: absent, or FP8 in blocks as it is built
void read_common(GgufFields& fields, Config& config);
// rope_theta with rope_scaling, or rope_parameters, into config.rope; dims and half are the caller's.
void read_rope(JsonFields& fields, Config& config);
void read_rope(GgufFields& fields, Config& config);
// attention_scale = width^-0.5, times YaRN's m(mscale_all_dim)^2.
void set_attention_scale(Config& config, int width);
// GQA's head counts and widths, rope.dims; `rope_half`: HF weights of Llama and Qwen2.
void read_gqa(JsonFields& fields, Config& config);
void read_gqa(GgufFields& fields, Config& config);

}  // namespace minke
