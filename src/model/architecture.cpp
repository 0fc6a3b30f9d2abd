#include "model/architecture.h"

#include <algorithm>

#include "base/error.h"

namespace minke {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", "llama", "llama", llama_from_hf, llama_from_gguf, llama_to_hf,
     llama_to_gguf},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", "qwen2", qwen2_from_hf, qwen2_from_gguf, qwen2_to_hf,
     qwen2_to_gguf},
    {"llama4", "Llama4ForCausalLM", "llama4_text", "llama4", llama4_from_hf, llama4_from_gguf, llama4_to_hf,
     llama4_to_gguf},
    {"llama4", "Llama4ForConditionalGeneration", "llama4", "llama4", llama4_from_hf, llama4_from_gguf,
     llama4_to_hf, llama4_to_gguf},
    {"deepseek_v2", "DeepseekV2ForCausalLM", "deepseek_v2", "deepseek2", deepseek_from_hf, deepseek_from_gguf,
     deepseek_to_hf, deepseek_to_gguf},
    {"deepseek_v3", "DeepseekV3ForCausalLM", "deepseek_v3", "deepseek2", deepseek_from_hf, deepseek_from_gguf,
     deepseek_to_hf, deepseek_to_gguf},
    {"deepseek_v32", "DeepseekV32ForCausalLM", "deepseek_v32", "deepseek32", deepseek_from_hf,
     deepseek_from_gguf, deepseek_to_hf, deepseek_to_gguf},
};

std::string known_names(std::string_view Architecture::* member) {
  std::string names;
  for (const Architecture& a : kArchitectures) {
    const std::string next(a.*member);
    if (names.find(next) == std::string::npos) names += (names.empty() ? "" : ", ") + next;
  }
  return names;
}

// Where a field of this config stands, by its names in both containers.
struct Fields {
  Container container;
  const std::string& where;

  void check(bool ok, const char* hf, const char* gguf, const std::string& what) const {
    if (ok) return;
    if (container == Container::gguf) throw Error(what, fmt::format("{}: key '{}'", where, gguf));
    throw Error(what, fmt::format("{}: field '{}'", where, hf));
  }
};

void validate_experts(const Fields& fields, const MoeConfig& m) {
  const RouterConfig& r = m.router;
  fields.check(r.active >= 1 && r.active <= r.experts, "num_experts_per_tok", "expert_used_count",
               fmt::format("{} active of {} experts", r.active, r.experts));
  fields.check(r.experts % r.groups == 0, "n_group", "expert_group_count",
               fmt::format("{} experts in {} groups", r.experts, r.groups));
  const int reachable = r.experts / r.groups * r.kept_groups;
  fields.check(r.group_score == GroupScore::none || r.active <= reachable, "topk_group",
               "expert_group_used_count",
               fmt::format("{} active, but {} of {} groups hold only {}", r.active, r.kept_groups, r.groups,
                           reachable));
}

const Architecture& row_of(const Config& config) {
  const auto* row = std::ranges::find(kArchitectures, config.arch, &Architecture::name);
  MINKE_CHECK(row != std::end(kArchitectures), "{}", config.arch);
  return *row;
}

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

void validate(const Config& c, Container container, const std::string& where) {
  const Fields fields{container, where};
  if (c.mla) {
    fields.check(c.mla->rope % 2 == 0, "qk_rope_head_dim", "rope.dimension_count",
                 fmt::format("{} is odd, and numbers turn in pairs", c.mla->rope));
  } else {
    fields.check(c.head_dim >= 2 && c.head_dim % 2 == 0, "head_dim", "attention.key_length",
                 fmt::format("a head size of {}: it must be even, as numbers turn in pairs", c.head_dim));
    fields.check(c.kv_heads >= 1 && c.heads % c.kv_heads == 0, "num_key_value_heads",
                 "attention.head_count_kv",
                 fmt::format("{} heads cannot share {} key-value heads evenly", c.heads, c.kv_heads));
    fields.check(int64_t{c.heads} * c.head_dim <= int64_t{kMaxWidth} * 16, "head_dim", "attention.key_length",
                 fmt::format("{} heads of {} are too wide", c.heads, c.head_dim));
  }
  if (c.moe) validate_experts(fields, *c.moe);
}

Config config_from_json(const Json& json, const std::string& where, const HasTensor& has,
                        const std::set<std::string>& allowed) {
  JsonFields fields(json, where, allowed);
  const auto model_type = fields.string("model_type");
  std::string hf_class;
  if (const Json* list = fields.value("architectures"); list && list->is_array() && !list->as_array().empty())
    hf_class = list->as_array()[0].is_string() ? list->as_array()[0].as_string() : "";
  const Architecture* row = nullptr;
  for (const Architecture& a : kArchitectures)
    if (a.hf_class == hf_class) row = &a;
  for (const Architecture& a : kArchitectures)
    if (hf_class.empty() && model_type == a.hf_model_type) row = &a;  // a class that is named must be known
  if (row) {
    Config config = row->from_hf(fields, has);
    config.arch = row->name;
    fields.finish();
    validate(config, Container::hugging_face, where);
    return config;
  }
  throw Error(
      fmt::format("unknown architecture '{}'", hf_class.empty() ? model_type.value_or("(none)") : hf_class),
      where, "known are " + known_names(&Architecture::hf_class));
}

Config config_from_gguf(const Gguf& gguf, const std::set<std::string>& allowed) {
  const std::string file = gguf.path().string();
  const auto arch = gguf.string("general.architecture");
  if (!arch) throw Error("key 'general.architecture' is missing", file);
  for (const Architecture& a : kArchitectures) {
    if (*arch != a.gguf) continue;
    GgufFields fields(gguf, std::string(*arch));
    Config config = a.from_gguf(fields);
    config.arch = a.name;
    if (config.arch == "deepseek_v2" && config.moe && config.moe->router.score == RouterScore::sigmoid)
      config.arch = "deepseek_v3";
    fields.finish(allowed);
    validate(config, Container::gguf, file);
    return config;
  }
  throw Error(fmt::format("unknown architecture '{}'", *arch), file,
              "known are " + known_names(&Architecture::gguf));
}

Json config_to_json(const Config& config, std::string_view dtype) {
  const Architecture& row = row_of(config);
  Json json = JsonObject{};
  json.set("architectures", JsonArray{Json(row.hf_class)});
  json.set("model_type", row.hf_model_type);
  json.set("torch_dtype", dtype);
  write_common(config, json);
  row.to_hf(config, json);
  return json;
}

void config_to_gguf(const Config& config, GgufHeader& header) {
  const Architecture& row = row_of(config);
  GgufKeys keys(header, std::string(row.gguf));
  write_common(config, keys);
  row.to_gguf(config, keys);
}

}  // namespace minke
