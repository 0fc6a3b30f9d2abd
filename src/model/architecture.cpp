#include "model/architecture.h"

#include "base/error.h"

namespace minke {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", "llama", "llama", llama_from_hf, llama_from_gguf},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", "qwen2", qwen2_from_hf, qwen2_from_gguf},
    {"llama4", "Llama4ForCausalLM", "llama4_text", "llama4", llama4_from_hf, llama4_from_gguf},
    {"llama4", "Llama4ForConditionalGeneration", "llama4", "llama4", llama4_from_hf, llama4_from_gguf},
    {"deepseek_v2", "DeepseekV2ForCausalLM", "deepseek_v2", "deepseek2", deepseek_from_hf,
     deepseek_from_gguf},
    {"deepseek_v3", "DeepseekV3ForCausalLM", "deepseek_v3", "deepseek2", deepseek_from_hf,
     deepseek_from_gguf},
    {"deepseek_v32", "DeepseekV32ForCausalLM", "deepseek_v32", "deepseek32", deepseek_from_hf,
     deepseek_from_gguf},
};

std::string known_names(std::string_view Architecture::* member) {
  std::string names;
  for (const Architecture& a : kArchitectures) {
    const std::string next(a.*member);
    if (names.find(next) == std::string::npos) names += (names.empty() ? "" : ", ") + next;
  }
  return names;
}

void check(bool ok, const char* what, const std::string& detail) {
  if (!ok) throw Error(fmt::format("{}: {}", what, detail), "model configuration");
}

void validate_experts(const MoeConfig& m) {
  const RouterConfig& r = m.router;
  check(r.active >= 1 && r.active <= r.experts, "experts",
        fmt::format("{} active of {}", r.active, r.experts));
  check(r.experts % r.groups == 0, "expert groups",
        fmt::format("{} experts in {} groups", r.experts, r.groups));
  check(r.group_score == GroupScore::none || r.active <= r.experts / r.groups * r.kept_groups,
        "expert groups",
        fmt::format("{} active, but {} of {} groups hold only {}", r.active, r.kept_groups, r.groups,
                    r.experts / r.groups * r.kept_groups));
}

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

void validate(const Config& c) {
  if (c.mla) {
    check(c.mla->rope % 2 == 0, "rope head size", fmt::format("{} is odd", c.mla->rope));
  } else {
    check(c.head_dim % 2 == 0, "head size", fmt::format("{} is odd", c.head_dim));
    check(c.kv_heads >= 1 && c.heads % c.kv_heads == 0, "heads",
          fmt::format("{} heads cannot share {} key-value heads evenly", c.heads, c.kv_heads));
    check(int64_t{c.heads} * c.head_dim <= kMaxWidth * 16, "heads",
          fmt::format("{} of {}", c.heads, c.head_dim));
  }
  if (c.moe) validate_experts(*c.moe);
}

Config config_from_json(const Json& json, const std::string& where, const HasTensor& has,
                        const std::set<std::string>& allowed) {
  JsonFields fields(json, where);
  const auto model_type = fields.string("model_type");
  std::string hf_class;
  if (const Json* list = fields.value("architectures"); list && list->is_array() && !list->as_array().empty())
    hf_class = list->as_array()[0].is_string() ? list->as_array()[0].as_string() : "";
  const Architecture* row = nullptr;
  for (const Architecture& a : kArchitectures)
    if (a.hf_class == hf_class) row = &a;
  for (const Architecture& a : kArchitectures)
    if (!row && model_type == a.hf_model_type) row = &a;
  if (row) {
    Config config = row->from_hf(fields, has);
    config.arch = row->name;
    fields.finish(allowed);
    validate(config);
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
    if (config.arch == "deepseek_v2" && config.moe->router.score == RouterScore::sigmoid)
      config.arch = "deepseek_v3";
    fields.finish(allowed);
    try {
      validate(config);
    } catch (const Error& e) {
      throw e.within(file);
    }
    return config;
  }
  throw Error(fmt::format("unknown architecture '{}'", *arch), file,
              "known are " + known_names(&Architecture::gguf));
}

}  // namespace minke
