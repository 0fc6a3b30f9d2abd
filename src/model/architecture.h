#pragma once
// The architectures: one registry row each, their files' vocabulary in one source file each.

#include <functional>
#include <optional>
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
  void (*to_hf)(const Config& config, Json& json);
  void (*to_gguf)(const Config& config, GgufKeys& keys);
};

std::span<const Architecture> architectures();

// The validated config of a Hugging Face folder's config.json, or of a GGUF file. `allowed`: unknown fields
// to pass over. Throws Error naming file and field; an unknown architecture lists the known ones.
Config config_from_json(const Json& json, const std::string& where, const HasTensor& has,
                        const std::set<std::string>& allowed);
Config config_from_gguf(const Gguf& gguf, const std::set<std::string>& allowed);

// The config in the other direction, so that reading it gives an equal one. Throw Error (subject: the model's
// architecture) for what the container cannot say. dtype: what most weights are ("bfloat16").
Json config_to_json(const Config& config, std::string_view dtype);
void config_to_gguf(const Config& config, GgufHeader& header);

// Rows of the registry, for architecture.cpp.
Config llama_from_hf(JsonFields& fields, const HasTensor& has);
Config llama_from_gguf(GgufFields& fields);
void llama_to_hf(const Config& config, Json& json);
void llama_to_gguf(const Config& config, GgufKeys& keys);
Config qwen2_from_hf(JsonFields& fields, const HasTensor& has);
Config qwen2_from_gguf(GgufFields& fields);
void qwen2_to_hf(const Config& config, Json& json);
void qwen2_to_gguf(const Config& config, GgufKeys& keys);
Config llama4_from_hf(JsonFields& fields, const HasTensor& has);
Config llama4_from_gguf(GgufFields& fields);
void llama4_to_hf(const Config& config, Json& json);
void llama4_to_gguf(const Config& config, GgufKeys& keys);
Config deepseek_from_hf(JsonFields& fields, const HasTensor& has);
Config deepseek_from_gguf(GgufFields& fields);
void deepseek_to_hf(const Config& config, Json& json);
void deepseek_to_gguf(const Config& config, GgufKeys& keys);

// What all architectures' files say in the same words (config_common.cpp).
constexpr int kMaxLayers = 4096, kMaxWidth = 1 << 20, kMaxHeads = 4096, kMaxHeadWidth = 1 << 16,
              kMaxExperts = 4096;
constexpr int kMaxVocab = 1 << 24, kMaxContext = 1 << 28;
constexpr double kLeastRopeFactor = 1e-3, kMostRopeFactor = 1e6;
constexpr double kLeastTurns = 1e-6, kMostTurns = 1e6;  // between which YaRN's or llama3's scaling sets in

void read_common(JsonFields& fields, Config& config);
void check_quantisation(JsonFields& fields);  // quantization_config: absent, or FP8 in blocks as it is built
void read_common(GgufFields& fields, Config& config);
// rope_theta with rope_scaling, or rope_parameters, into config.rope; dims and half are the caller's.
void read_rope(JsonFields& fields, Config& config);
void read_rope(GgufFields& fields, Config& config);
// attention_scale = width^-0.5, times YaRN's m(mscale_all_dim)^2.
void set_attention_scale(Config& config, int width);
// Of the same, the other direction.
void write_common(const Config& config, Json& json);
void write_common(const Config& config, GgufKeys& keys);
void write_rope(const Config& config, Json& json);
void write_rope(const Config& config, GgufKeys& keys);
void write_gqa(const Config& config, Json& json);
void write_gqa(const Config& config, GgufKeys& keys);
[[noreturn]] void cannot_say(const Config& config, std::string what);  // what the container has no field for
// Keys of our own: what GGUF has no words for.
inline constexpr const char *kLlama3RopeKey = "minke.rope.llama3",  // factor, low, high, original
    *kEosIdsKey = "minke.eos_token_ids";                            // where there are several
// Whether they are the same but for the rounding of who made them.
bool same_divisors(const std::vector<float>& a, const std::vector<float>& b);
// Whether the numbers of llama3 scaling are such as a config.json may have.
bool is_sound_llama3(const RopeConfig& rope);
// The llama3 scaling whose frequencies these divisors give; nothing where none does.
std::optional<RopeConfig> llama3_of_divisors(const RopeConfig& rope);
// GQA's head counts and widths, rope.dims; `rope_half`: HF weights of Llama and Qwen2.
void read_gqa(JsonFields& fields, Config& config);
void read_gqa(GgufFields& fields, Config& config);

}  // namespace minke
